import { readFileSync } from 'node:fs'
import t from 'tap'

import { leftChains } from '../../src/datapath/shared-chains.js'

const golden = (name: string) =>
  readFileSync(new URL(`../fixtures/golden/${name}`, import.meta.url), 'utf8')

/** The restores of one mode as a table would then be saved, jumps at the end. */
function savedAs(mode: 'iptables' | 'ipvs'): Map<string, string[]> {
  const [, text = ''] = golden(`policies.${mode}`).split('# iptables-restore --noflush\n')
  const tables = new Map<string, string[]>()
  let table: string[] = []
  for (const line of text.split(/^# /m)[0]!.split('\n')) {
    if (line.startsWith('*')) {
      table = tables.get(line.slice(1)) ?? []
      tables.set(line.slice(1), table)
    } else if (line.startsWith('-I ')) table.push(line.replace(/^-I (\S+) 1/, '-A $1'))
    else if (/^(:|-A)/.test(line)) table.push(line)
  }
  return tables
}

/** What the kernel has when the first mode was there and the second one has been loaded over it. */
function loadedOver(first: 'iptables' | 'ipvs', second: 'iptables' | 'ipvs'): string {
  const before = savedAs(first)
  let text = ''
  for (const table of ['mangle', 'nat', 'filter']) {
    const after = savedAs(second).get(table) ?? []
    const rewritten = new Set(after.filter((line) => line.startsWith(':')).map(nameOf))
    const kept = (before.get(table) ?? []).filter((line) => !rewritten.has(nameOf(line)))
    text += `*${table}\n${[...new Set([...kept, ...after])].join('\n')}\nCOMMIT\n`
  }
  return text
}

function nameOf(line: string): string {
  return /^(?::|-A )(\S+)/.exec(line)?.[1] ?? ''
}

/** `TABLE LINE` of chains and rules; the chain of the kubelet is nobody's to remove. */
function entriesOf(text: string): string[] {
  return text
    .split(/^\*/m)
    .slice(1)
    .flatMap((section) => {
      const [table = '', ...lines] = section.split('\n')
      return lines.filter((line) => /^(:|-)/.test(line)).map((line) => `${table} ${line}`)
    })
    .filter((line) => !line.includes('KUBE-FIREWALL'))
}

for (const [left, now] of [
  ['iptables', 'ipvs'],
  ['ipvs', 'iptables'],
] as const) {
  t.test(`${left} before, ${now} now: nothing is left of it, and all of the other`, async (t) => {
    const saved = loadedOver(left, now)
    const { text, removed } = leftChains(saved, 'IPv4', left)
    t.ok(removed.length > 3, removed.join())
    const jumps = new Set(entriesOf(text).map((line) => line.replace(' -D ', ' -A ')))
    const isGone = (line: string) => {
      const [table = '', ...words] = line.split(' ')
      return jumps.has(line) || removed.includes(`${table}/${nameOf(words.join(' '))}`)
    }
    const rest = entriesOf(saved).filter((line) => !isGone(line))
    t.same(rest.sort(), entriesOf(loadedOver(now, now)).sort())
  })
}

t.test('nothing of the other mode: nothing to do', async (t) => {
  for (const [left, now] of [
    ['iptables', 'ipvs'],
    ['ipvs', 'iptables'],
  ] as const) {
    t.same(leftChains(loadedOver(now, now), 'IPv4', left), { text: '', removed: [] })
  }
})
