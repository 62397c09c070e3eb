/**
 * The nfqueue mode against what a kernel does alone, and against HAProxy. Each contender has a node
 * namespace of its own, with a link to the one client and to each pod, so that no rule of one stands
 * in another's way; all are there all the time, idle, and the load goes to one after the other.
 *
 *   client 10.0.N.2 -- 10.0.N.1 node N (contender N) -- 172.16.N.x -- 10.244.P.2 two pods
 *
 * The Service that is measured has two endpoints everywhere; what differs is how many others there
 * are. Nobody masquerades.
 */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { kubeProxyRules } from '../kube-proxy-rules.mjs'
import { CONCURRENCY, cpuSeconds, moveBytes, openConnections } from '../load.mjs'
import { haproxyConfig, kernelRules, podConfig, queueRules, slice } from '../peers.mjs'
import {
  compileLoad,
  eventually,
  inPlace,
  link,
  loadRules,
  MANY_CONNECTIONS,
  output,
} from '../place.mjs'
import { alternate } from '../rounds.mjs'
import { difference, ratio, spread, table } from '../statistics.mjs'
import { manifestsOf, startSteering } from '../steering-daemon.mjs'

const PODS = [1, 2]
const POD_IPS = PODS.map((pod) => `10.244.${pod}.2`)
const KERNEL = 'kernel'
const SMALLEST = 'nfqueue-2'
const CONTENDERS = {
  kernel: kernelRule,
  'iptables-1': iptables(1),
  'iptables-1000': iptables(1000),
  'iptables-10000': iptables(10_000),
  haproxy,
  queue: queueFloor(0),
  'queue-spin': queueFloor(1000),
  'nfqueue-2': nfqueue(2),
  'nfqueue-10000': nfqueue(10_000),
  'nfqueue-250000': nfqueue(250_000),
}
const FIGURES = ['connections', 'latency', 'bulk', 'programming']
/** Entries of connections that are over: the table of the machine holds some 262,144. */
const NODE_SYSCTLS = {
  ...MANY_CONNECTIONS,
  'net.ipv4.ip_forward': '1',
  'net.netfilter.nf_conntrack_tcp_timeout_time_wait': '2',
}
const LATENCY_PAUSE_US = 500

/** @param {readonly string[]} args @returns {Promise<number>} exit status */
export async function run(args) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      contenders: { type: 'string', default: Object.keys(CONTENDERS).join(',') },
      figures: { type: 'string', default: FIGURES.join(',') },
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '3' },
      connects: { type: 'string', default: '1000' },
      json: { type: 'string' },
    },
  })
  const names = values.contenders.split(',')
  const figures = values.figures.split(',')
  const unknown = [
    ...names.filter((name) => !Object.hasOwn(CONTENDERS, name)),
    ...figures.filter((name) => !FIGURES.includes(name)),
  ]
  if (unknown.length > 0) {
    console.error(`perf: no contender or figure "${unknown.join('", "')}"`)
    return 2
  }
  const [rounds, seconds] = [Number(values.rounds), Number(values.seconds)]
  return inPlace(async (place) => {
    const results = {}
    if (figures.some((name) => name !== 'programming')) {
      const { client, contenders } = await setUp(place, names)
      const on = { place, client, contenders, rounds, seconds }
      if (figures.includes('connections')) results.connections = await connections(on)
      if (figures.includes('latency')) results.latency = await latency(on, values.connects)
      if (figures.includes('bulk')) results.bulk = await bulk(on)
    }
    if (figures.includes('programming')) results.programming = await programming(place, rounds)
    report(results)
    if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(results, undefined, 2))
  })
}

async function setUp(place, names) {
  const { namespaces, folder } = place
  const client = await namespaces.add('client')
  await namespaces.sysctl(client, MANY_CONNECTIONS)
  for (const pod of PODS) {
    const netns = await namespaces.add(`pod${pod}`)
    await namespaces.configure(netns, [`addr add 10.244.${pod}.2/32 dev lo`])
    const config = join(folder, `pod${pod}.conf`)
    writeFileSync(config, podConfig(folder, `pod${pod}`))
    namespaces.spawn(netns, ['nginx', '-c', config], { stdio: 'ignore' })
    namespaces.spawn(netns, ['iperf3', '-s', '-p', '5201'], { stdio: 'ignore' })
  }
  const pods = PODS.map((pod) => namespaces.names.find((name) => name.endsWith(`pod${pod}`)))
  const contenders = []
  for (const [index, name] of names.entries()) {
    const number = index + 1
    const node = await addNode(namespaces, number, { client, pods })
    const vip = `10.96.${number}.1`
    const made = await CONTENDERS[name](place, node, { vip, address: `10.0.${number}.1` })
    contenders.push({ name, http: [vip, 80], bulk: [vip, 5201], pids: [], ...made })
    console.error(`${name} is set up`)
  }
  for (const { name, http } of contenders) {
    await eventually(`${name} does not answer at ${http.join(':')}`, async () => {
      const url = `http://${http.join(':')}/`
      return (await output(place, client, ['wrk', '-t1', '-c1', '-d1s', url])).includes(
        'requests in',
      )
    })
  }
  return { client, contenders }
}

/** A node with a link to the client and one to each pod. */
async function addNode(namespaces, number, { client, pods }) {
  const node = await namespaces.add(`node${number}`)
  await namespaces.sysctl(node, NODE_SYSCTLS)
  const ends = [`10.0.${number}.2/24`, `10.0.${number}.1/24`]
  await link(namespaces, [client, `node${number}`, ends[0]], [node, 'client', ends[1]])
  await namespaces.configure(client, [`route add 10.96.${number}.0/24 via 10.0.${number}.1`])
  await namespaces.configure(node, [`route add default via 10.0.${number}.2`])
  for (const [index, pod] of pods.entries()) {
    const [here, there] = [4 * index + 1, 4 * index + 2].map((host) => `172.16.${number}.${host}`)
    const device = `pod${index + 1}`
    await link(namespaces, [pod, `node${number}`, `${there}/30`], [node, device, `${here}/30`])
    await namespaces.configure(pod, [`route add 10.0.${number}.0/24 via ${here}`])
    await namespaces.configure(node, [`route add ${POD_IPS[index]}/32 via ${there}`])
  }
  return node
}

function kernelRule(place, node, { vip }) {
  loadRules(node, ['nft', '-f', '-'], kernelRules(vip, POD_IPS))
}

function iptables(count) {
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
    const rules = kubeProxyRules({ services: all, clusterCidr: '10.0.0.0/8' })
    loadRules(node, ['iptables-legacy-restore', '--noflush'], rules)
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

function nfqueue(endpoints) {
  return async (place, node, { vip }) => {
    const items = manifestsOf(vip, POD_IPS, endpoints)
    const { child } = await startSteering(place, node, items)
    return { pids: [child.pid] }
  }
}

function connections({ place, client, contenders, rounds, seconds }) {
  const measure = async ({ http, pids }, isWarmUp) => {
    const before = cpuSeconds(pids)
    const { requests, perSecond } = await openConnections(
      place,
      client,
      http,
      isWarmUp ? 1 : seconds,
    )
    const after = cpuSeconds(pids)
    const each = (part) => (pids.length > 0 ? ((after[part] - before[part]) * 1e6) / requests : NaN)
    return {
      connectionsPerSecond: perSecond,
      userMicrosPerConnection: each('user'),
      systemMicrosPerConnection: each('system'),
    }
  }
  const brief = ({ connectionsPerSecond }) => `${Math.round(connectionsPerSecond)} connections/s`
  return alternate(contenders, rounds, { measure, brief }).then(Object.fromEntries)
}

/** All contenders in each round, connection by connection. */
async function latency({ place, client, contenders, rounds }, connects) {
  const program = compileLoad(place.folder, 'connect-latency')
  const targets = contenders.map(({ http }) => http.join(':'))
  const results = contenders.map(({ name }) => [name, { p50Us: [], p90Us: [], p99Us: [] }])
  for (let round = 1; round <= rounds; round++) {
    const command = [program, connects, String(LATENCY_PAUSE_US), ...targets]
    const answers = JSON.parse(await output(place, client, command))
    answers.forEach((answer, index) => {
      for (const [key, value] of Object.entries(answer)) results[index][1][key].push(value)
    })
    const [first] = answers
    console.error(`round ${round}/${rounds}  ${contenders[0].name}: p50 ${first.p50Us} µs`)
  }
  return Object.fromEntries(results)
}

function bulk({ place, client, contenders, rounds, seconds }) {
  const measure = async (contender, isWarmUp) => {
    return moveBytes(place, client, contender.bulk, isWarmUp ? 1 : seconds)
  }
  const brief = ({ gigabitsPerSecond }) => `${gigabitsPerSecond.toFixed(1)} Gbit/s`
  return alternate(contenders, rounds, { measure, brief }).then(Object.fromEntries)
}

/** 250,000 endpoints into a kernel that has none, then one more and one less by turns. */
async function programming(place, rounds) {
  const CHANGES = 10
  const result = { coldMs: [], changeMs: [] }
  for (let round = 1; round <= rounds; round++) {
    const node = await place.namespaces.add(`load${round}`)
    await place.namespaces.sysctl(node, NODE_SYSCTLS)
    const items = manifestsOf('10.96.1.1', POD_IPS, 250_000)
    const { child, write, sync } = await startSteering(place, node, items)
    result.coldMs.push(await sync(0))
    for (let change = 1; change <= CHANGES; change++) {
      // The name of the port must be the Service's, or nothing changes.
      const more = slice('other-1', 'http', [`10.99.0.${change}`], 8080)
      more.metadata.name = 'other-1-more'
      write('change.json', [more])
      result.changeMs.push(await sync(change))
    }
    console.error(
      `round ${round}/${rounds}  cold ${result.coldMs.at(-1)} ms, changes ${result.changeMs.slice(-CHANGES).join(' ')} ms`,
    )
    child.kill('SIGKILL')
  }
  return result
}

function report({ connections, latency, bulk, programming }) {
  if (connections !== undefined) {
    const to = (peer, rates) => ratioTo(connections[peer]?.connectionsPerSecond, rates)
    const head = ['', 'connections/s', '/kernel', `/${SMALLEST}`, 'user µs each', 'system µs each']
    const rows = Object.entries(connections).map(([name, one]) => [
      name,
      spread(one.connectionsPerSecond, 0),
      to(KERNEL, one.connectionsPerSecond),
      to(SMALLEST, one.connectionsPerSecond),
      spread(one.userMicrosPerConnection, 0),
      spread(one.systemMicrosPerConnection, 0),
    ])
    console.log(`\n${table([head, ...rows])}`)
  }
  if (latency !== undefined) {
    const added = (one, key) => {
      const peer = latency[KERNEL]?.[key]
      return peer === undefined ? '-' : difference(one[key], peer, 1)
    }
    const head = ['', 'connect p50 µs', '- kernel', 'p90 µs', '- kernel', 'p99 µs', '- kernel']
    const rows = Object.entries(latency).map(([name, one]) => [
      name,
      ...['p50Us', 'p90Us', 'p99Us'].flatMap((key) => [spread(one[key], 0), added(one, key)]),
    ])
    console.log(`\n${table([head, ...rows])}`)
  }
  if (bulk !== undefined) {
    const rows = Object.entries(bulk).map(([name, one]) => [
      name,
      spread(one.gigabitsPerSecond, 1),
      ratioTo(bulk[KERNEL]?.gigabitsPerSecond, one.gigabitsPerSecond),
    ])
    console.log(`\n${table([['', 'Gbit/s', '/kernel'], ...rows])}`)
  }
  if (programming !== undefined) {
    const { coldMs, changeMs } = programming
    console.log(
      `\n250,000 endpoints cold: ${spread(coldMs, 0)} ms; one change: ${spread(changeMs, 0)} ms`,
    )
  }
  const version = (...command) => execFileSync(command[0], command.slice(1), { encoding: 'utf8' })
  const tools = [version('haproxy', '-v').split('\n')[0], version('iptables-legacy', '-V').trim()]
  console.log(
    `\nMedians [min..max]; ratios and differences are medians of the rounds. ${cpus().length} processors, Node ${process.version}, ${tools.join(', ')}.`,
  )
  console.log(
    `connections/s: wrk, ${CONCURRENCY} at a time, each request on a connection of its own; connect: one at a time, contender by contender in turn, the queue idle; Gbit/s: iperf3, 4 streams.`,
  )
}

function ratioTo(peer, values) {
  return peer === undefined ? '-' : ratio(values, peer)
}
