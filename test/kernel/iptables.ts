import t from 'tap'

import {
  comment,
  type IptablesChain,
  renderChains,
  renderRemoval,
} from '../../src/kernel/iptables.js'

const nat: IptablesChain = {
  table: 'nat',
  name: 'OURS-NAT',
  hooks: ['PREROUTING', 'OUTPUT'],
  comment: 'ours: new connections',
  rules: ['-p tcp -j REDIRECT --to-ports 1', '-p udp -j DNAT --to-destination 192.0.2.1:1'],
}
const filter: IptablesChain = { ...nat, table: 'filter', name: 'OURS-FILTER', rules: [] }

t.test('chains of a table are one transaction, missing jumps in it', async (t) => {
  const text = renderChains([nat, filter], [{ chain: nat, hook: 'OUTPUT' }])
  t.equal(
    text,
    [
      '*nat',
      ':OURS-NAT - [0:0]',
      '-A OURS-NAT -p tcp -j REDIRECT --to-ports 1',
      '-A OURS-NAT -p udp -j DNAT --to-destination 192.0.2.1:1',
      '-I OUTPUT 1 -m comment --comment "ours: new connections" -j OURS-NAT',
      'COMMIT',
      '*filter',
      ':OURS-FILTER - [0:0]',
      'COMMIT',
      '',
    ].join('\n'),
  )
})

t.test('removal takes the jumps first', async (t) => {
  t.equal(
    renderRemoval([nat], [{ chain: nat, hook: 'PREROUTING' }]),
    [
      '*nat',
      '-D PREROUTING -m comment --comment "ours: new connections" -j OURS-NAT',
      '-F OURS-NAT',
      '-X OURS-NAT',
      'COMMIT',
      '',
    ].join('\n'),
  )
})

t.test('a comment cannot end early or be too long', async (t) => {
  t.equal(comment('say "hi"\n-j ACCEPT\\'), '-m comment --comment "say  hi  -j ACCEPT "')
  t.ok(comment('x'.repeat(300)).length < 300)
})
