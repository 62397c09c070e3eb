/**
 * Who is measured, by name: each sets itself up on a node namespace of its own and says where it answers.
 * The Service that is measured has two endpoints everywhere; what differs is how many others there are.
 * Nobody masquerades.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { steppedText } from '../dist/datapath/iptables/restore-steps.js'
import { restoreText } from '../dist/datapath/iptables/restore-text.js'
import { kubeProxyRules } from './kube-proxy-rules.mjs'
import { haproxyConfig, kernelRules, nginxConfig, queueRules } from './peers.mjs'
import { compileLoad, loadRules } from './place.mjs'
import { manifestsOf, startDaemon } from './daemon.mjs'

const PODS = [1, 2]
export const POD_IPS = PODS.map((pod) => `10.244.${pod}.2`)

/**
 * Each: `(place, node, { client, vip, address })`, where `address` is the node's own. Resolves to what is
 * not as it is by default: `http` and `bulk`, where short connections and bulk go to (the VIP, ports
 * 80 and 5201), and `pids`, the processes whose time is its cost (none).
 */
export const CONTENDERS = {
  direct,
  kernel: kernelRule,
  'iptables-1': iptables('legacy', 1),
  'iptables-1000': iptables('legacy', 1000),
  'iptables-10000': iptables('legacy', 10_000),
  'iptables-nft-1': iptables('nft', 1),
  'iptables-nft-1000': iptables('nft', 1000),
  'iptables-nft-10000': iptables('nft', 10_000),
  haproxy,
  nginx,
  socat,
  queue: queueFloor(0),
  'queue-spin': queueFloor(1000),
  userspace: ours('userspace', 2),
  'nfqueue-2': ours('nfqueue', 2),
  'nfqueue-2-patient': ours('nfqueue', 2, ['--connect-patience', '0s']),
  'nfqueue-10000': ours('nfqueue', 10_000),
  'nfqueue-250000': ours('nfqueue', 250_000),
  'nftables-2': ours('nftables', 2),
  'nftables-10000': ours('nftables', 10_000),
  'our-iptables-2': ours('iptables', 2),
}

/** No proxy: one of the pods. */
async function direct({ namespaces }, node, { client, address }) {
  await namespaces.configure(client, [`route add ${POD_IPS[0]}/32 via ${address}`])
  return { http: [POD_IPS[0], 8080], bulk: [POD_IPS[0], 5201] }
}

function kernelRule(place, node, { vip }) {
  loadRules(node, ['nft', '-f', '-'], kernelRules(vip, POD_IPS))
}

function iptables(variant, count) {
  return (place, node, { vip }) => {
    const services = [
      { name: 'perf:http', vip, port: 80, endpoints: POD_IPS.map((ip) => `${ip}:8080`) },
      { name: 'perf:bulk', vip, port: 5201, endpoints: [`${POD_IPS[0]}:5201`] },
    ]
    const others = Array.from({ length: count - 1 }, (_, number) => ({
      name: `other-${number}`,
      vip: `10.97.${number >> 8}.${number & 255}`,
      port: 80,
      endpoints: [1, 2].map((i) => `10.${128 + (number >> 8)}.${number & 255}.${i}:8080`),
    }))
    const half = others.length >> 1
    const all = [...others.slice(0, half), ...services, ...others.slice(half)]
    const plan = kubeProxyRules({ services: all, clusterCidr: '10.0.0.0/8' })
    // In one transaction the nft tool takes 74 s for 10,000 Services, in several 3 s.
    const rules = variant === 'nft' ? steppedText(plan) : restoreText(plan)
    loadRules(node, [`iptables-${variant}-restore`, '--noflush'], rules)
  }
}

function haproxy({ namespaces, folder }, node, { address }) {
  const config = join(folder, 'haproxy.cfg')
  writeFileSync(config, haproxyConfig(address, POD_IPS))
  const { pid } = namespaces.spawn(node, ['haproxy', '-db', '-f', config], { stdio: 'ignore' })
  return { http: [address, 8001], bulk: [address, 8002], pids: [pid] }
}

/** The kernel's rule, and before it a queue whose listener accepts everything: see load/queue-floor.c. */
function queueFloor(spinMicros) {
  return (place, node, { vip }) => {
    loadRules(node, ['nft', '-f', '-'], kernelRules(vip, POD_IPS))
    loadRules(node, ['iptables-legacy-restore', '--noflush'], queueRules(vip))
    const core = ['queue', 'packet', 'netlink', 'wait']
    const program = compileLoad(place.folder, 'queue-floor', core)
    const { pid } = place.namespaces.spawn(node, [program, '0', String(spinMicros)], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    return { pids: [pid] }
  }
}

function nginx({ namespaces, folder }, node, { address }) {
  const config = join(folder, 'nginx.conf')
  writeFileSync(config, nginxConfig(folder, address, POD_IPS))
  const { pid } = namespaces.spawn(node, ['nginx', '-c', config], { stdio: 'ignore' })
  return { http: [address, 8011], bulk: [address, 8012], pids: [pid] }
}

/** A process for each connection, which is what socat does; one endpoint. */
function socat({ namespaces }, node, { address }) {
  const listen = (port, endpoint) => {
    const from = `TCP-LISTEN:${port},bind=${address},fork,reuseaddr,backlog=4096`
    return namespaces.spawn(node, ['socat', from, `TCP:${endpoint}`], { stdio: 'ignore' }).pid
  }
  const pids = [listen(8021, `${POD_IPS[0]}:8080`), listen(8022, `${POD_IPS[0]}:5201`)]
  return { http: [address, 8021], bulk: [address, 8022], pids }
}

function ours(mode, endpoints, flags = []) {
  return async (place, node, { vip }) => {
    const items = manifestsOf(vip, POD_IPS, endpoints)
    const { child } = await startDaemon(place, node, { items, mode, flags })
    return { pids: [child.pid] }
  }
}
