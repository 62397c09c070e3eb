/**
 * The rules of a few small clusters, whole, as each mode would load them: a change of a rule is seen
 * here, and every line was read against the rules of kube-proxy. `TAP_SNAPSHOT=1` writes the files
 * anew; read what changed. What kernels say about the text is tested below: nothing is loaded into this one.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'

import { readSnapshot } from '../../src/cli/read-snapshot.js'
import { loadRunConfig } from '../../src/config/load.js'
import { renderIptables } from '../../src/datapath/iptables/render.js'
import { renderIpvs } from '../../src/datapath/ipvs/render.js'
import { renderNftables } from '../../src/datapath/nftables/render.js'
import type { RenderRules } from '../../src/datapath/running-mode.js'
import { rootOnly } from '../fixtures/test-cluster.js'

const CLUSTERS = ['small', 'dual-stack', 'policies', 'source-ranges'] as const
const MODES: Readonly<Record<string, RenderRules>> = {
  iptables: renderIptables,
  ipvs: renderIpvs,
  nftables: renderNftables,
}
const NODE = [
  { address: '127.0.0.1', family: 'IPv4', isLoopback: true },
  { address: '192.168.0.1', family: 'IPv4', isLoopback: false },
  { address: '::1', family: 'IPv6', isLoopback: true },
  { address: 'fd00:a::1', family: 'IPv6', isLoopback: false },
] as const

const file = (name: string) => fileURLToPath(new URL(`../fixtures/golden/${name}`, import.meta.url))

async function rulesOf(cluster: string, mode: string): Promise<string> {
  const config = loadRunConfig([
    ...['--manifests', file(`${cluster}.yaml`), '--hostname-override', 'node-a'],
    ...['--cluster-cidr', '10.244.0.0/16,fd00:244::/32'],
  ])
  const snapshot = await readSnapshot(config, () => undefined)
  return MODES[mode]?.(snapshot, config, NODE).text ?? ''
}

/** The rules of the nftables mode are the same for all clusters: they are in one file. */
function splitOf(text: string): { rules: string; elements: string } {
  const lines = text.split('\n')
  const isElement = (line: string) => line.startsWith('add element')
  return {
    rules: lines.filter((line) => !isElement(line)).join('\n'),
    elements: `${lines.filter(isElement).join('\n')}\n`,
  }
}

function compare(t: Test, name: string, text: string): void {
  if (process.env['TAP_SNAPSHOT'] === '1') writeFileSync(file(name), text)
  t.equal(text, readFileSync(file(name), 'utf8'), name)
}

for (const cluster of CLUSTERS) {
  t.test(cluster, async (t) => {
    for (const mode of ['iptables', 'ipvs']) {
      compare(t, `${cluster}.${mode}`, await rulesOf(cluster, mode))
    }
    const { rules, elements } = splitOf(await rulesOf(cluster, 'nftables'))
    compare(t, `${cluster}.nftables-elements`, elements)
    compare(t, 'rules.nftables', rules)
  })
}

/** What a shell script in a network namespace of its own says when it fails. */
function complaints(script: string, folder: string): string {
  const command = ['-n', 'sh', '-ec', `cd "$0"; ${script}`, folder]
  const { status, stderr } = spawnSync('unshare', command, { encoding: 'utf8' })
  return status === 0 ? '' : `exit ${status ?? 'by a signal'}: ${stderr}`
}

/** The parts of a text by the tool that reads them. */
function partsOf(text: string): Record<string, string> {
  const parts: Record<string, string> = {}
  for (const part of text.split(/^# (?=ipset|ip6?tables-restore|ipvsadm|ip )/m)) {
    if (part === '' || part.startsWith('#')) continue
    const [tool = ''] = part.split(/\s/, 1)
    parts[tool] = (parts[tool] ?? '') + part.slice(part.indexOf('\n') + 1)
  }
  return parts
}

const GUARD_CHAIN = '-t filter -N KUBE-FIREWALL'
const restoreTest = (tool: string, variant: string) =>
  `${tool}-${variant}-restore --noflush --test < ${tool}-restore`

t.test('what the tools say to the text', { skip: rootOnly }, async (t) => {
  for (const cluster of CLUSTERS) {
    const iptables = partsOf(await rulesOf(cluster, 'iptables'))
    const ipvs = partsOf(await rulesOf(cluster, 'ipvs'))
    // Few kernels have xt_ipvs: those rules are loaded in test/uml/ipvs.ts.
    const withoutIpvs = (rules = '') => rules.replace(/^-A .* -m ipvs .*\n/gm, '')
    const folder = t.testdir({
      iptables,
      ipvs: {
        ...ipvs,
        'iptables-restore': withoutIpvs(ipvs['iptables-restore']),
      },
      nftables: await rulesOf(cluster, 'nftables'),
    })
    for (const variant of ['legacy', 'nft']) {
      const script =
        `iptables-${variant} ${GUARD_CHAIN}; ` +
        `${restoreTest('iptables', variant)}; ${restoreTest('ip6tables', variant)}`
      t.equal(complaints(script, `${folder}/iptables`), '', `${cluster}: iptables, ${variant}`)
      const withSets = `ipset restore < ipset; ${restoreTest('iptables', variant)}; ${restoreTest('ip6tables', variant)}`
      t.equal(complaints(withSets, `${folder}/ipvs`), '', `${cluster}: ipvs, ${variant}`)
    }
    t.equal(complaints('nft -c -f nftables', folder), '', `${cluster}: nftables`)
  }
})
