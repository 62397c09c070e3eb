import t from 'tap'

import { reachableChains, StaleChains } from '../../../src/datapath/iptables/chain-graph.js'

const name = (kind: string, letter: string) => `KUBE-${kind}-${letter.repeat(16)}`
const text = (rules: readonly (readonly [string, string])[]): string => {
  const chains = new Set(rules.flatMap(([chain, target]) => [chain, target]))
  return [
    ...[...chains].map((chain) => `:${chain} - [0:0]`),
    ...rules.map(([chain, target]) => `-A ${chain} -p tcp -j ${target}`),
  ].join('\n')
}

function staleChains(saved: string, wanted: ReadonlySet<string>): readonly string[] {
  const chains = new StaleChains(wanted)
  for (const line of saved.split('\n')) chains.add(line)
  return chains.list()
}

t.test('chains lead to chains, also in a circle', async (t) => {
  const lines = text([
    ['A', 'B'],
    ['B', 'C'],
    ['C', 'A'],
    ['D', 'E'],
  ]).split('\n')
  t.same([...reachableChains(lines, ['A'])], ['A', 'B', 'C'])
  t.same([...reachableChains(lines, ['A'], new Set(['B']))], ['A', 'B'])
})

t.test('what only our own chains lead to can go with them', async (t) => {
  const saved = text([
    ['PREROUTING', 'KUBE-SERVICES'],
    ['KUBE-SERVICES', name('SVC', 'A')],
    ['KUBE-SERVICES', name('SVC', 'B')],
    [name('SVC', 'A'), name('SEP', 'A')],
    [name('SVC', 'B'), name('SEP', 'B')],
  ])
  const wanted = new Set(['KUBE-SERVICES', name('SVC', 'A'), name('SEP', 'A')])
  t.same(staleChains(saved, wanted), [name('SVC', 'B'), name('SEP', 'B')])
})

t.test('what the chain of another mode leads to cannot', async (t) => {
  const saved = text([
    ['KUBE-SLUICE-LOCAL', name('EXT', 'A')],
    [name('EXT', 'A'), name('SVC', 'A')],
    [name('EXT', 'B'), name('SVC', 'B')],
  ])
  t.same(staleChains(saved, new Set()), [name('EXT', 'B'), name('SVC', 'B')])
})
