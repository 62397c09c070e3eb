/** Against real iptables of both kinds, in a namespace of its own. */
import t from 'tap'

import { commandRunner } from '../../src/kernel/command.js'
import type { IptablesChain } from '../../src/kernel/iptables.js'
import { OwnedChains } from '../../src/kernel/owned-chains.js'
import { inNamespace, tool } from '../fixtures/in-namespace.js'

const nat: IptablesChain = {
  table: 'nat',
  name: 'OURS-NAT',
  hooks: ['PREROUTING', 'OUTPUT'],
  comment: 'ours',
  rules: ['-p tcp -j ACCEPT', '-p udp -j ACCEPT'],
}
const filter: IptablesChain = { ...nat, table: 'filter', name: 'OURS-FILTER', hooks: ['FORWARD'] }

if (inNamespace(t, import.meta.url)) {
  for (const variant of ['-nft', '-legacy']) {
    const iptables = `iptables${variant}`
    const make = (): OwnedChains => new OwnedChains(commandRunner(), iptables)
    const rules = (table: string, chain: string): string[] =>
      tool(iptables, ['-t', table, '-S', chain])
        .split('\n')
        .filter((line) => line.startsWith('-A'))
    const insert = (...rule: string[]): string => tool(iptables, ['-t', 'nat', '-I', ...rule])
    const jump = (hook: string, name: string): string =>
      `-A ${hook} -m comment --comment ours -j ${name}`

    t.test(`${iptables}: chains come, change, are repaired and go`, async (t) => {
      const chains = make()
      await chains.sync([nat, filter], false)
      t.strictSame(rules('nat', 'OURS-NAT'), [
        '-A OURS-NAT -p tcp -j ACCEPT',
        '-A OURS-NAT -p udp -j ACCEPT',
      ])
      t.strictSame(rules('filter', 'FORWARD'), [jump('FORWARD', 'OURS-FILTER')])
      await chains.sync([{ ...nat, rules: [] }, filter], false)
      t.strictSame(rules('nat', 'OURS-NAT'), [])
      t.strictSame(rules('nat', 'OUTPUT'), [jump('OUTPUT', 'OURS-NAT')], 'jumps stay single')

      tool(iptables, ['-t', 'nat', '-F', 'OUTPUT'])
      await chains.sync([{ ...nat, rules: [] }, filter], false)
      t.strictSame(rules('nat', 'OUTPUT'), [], 'without a look nothing is noticed')
      await chains.sync([{ ...nat, rules: [] }, filter], true)
      t.strictSame(rules('nat', 'OUTPUT'), [jump('OUTPUT', 'OURS-NAT')])

      t.strictSame(await make().remove([nat, filter]), ['nat/OURS-NAT', 'filter/OURS-FILTER'])
      t.strictSame(await make().remove([nat, filter]), [])
      t.strictSame(rules('nat', 'OUTPUT'), [])
    })

    t.test(`${iptables}: jumps are raised above those of others`, async (t) => {
      const chains = make()
      await chains.sync([nat], false)
      tool(iptables, ['-t', 'nat', '-N', 'THEIRS'])
      insert('PREROUTING', '-j', 'THEIRS')
      await chains.raise([nat])
      t.strictSame(rules('nat', 'PREROUTING'), [
        jump('PREROUTING', 'OURS-NAT'),
        '-A PREROUTING -j THEIRS',
      ])
      t.strictSame(rules('nat', 'OUTPUT'), [jump('OUTPUT', 'OURS-NAT')])
      tool(iptables, ['-t', 'nat', '-F', 'OUTPUT'])
      await chains.raise([nat])
      t.strictSame(rules('nat', 'OUTPUT'), [jump('OUTPUT', 'OURS-NAT')], 'a lost one comes back')
      await chains.remove([nat])
    })

    t.test(`${iptables}: what is refused is told, and tried again`, async (t) => {
      const chains = make()
      const broken = { ...nat, rules: ['-j NOBODY'] }
      await t.rejects(chains.sync([broken], false), { code: 'ERR_TOOL' })
      await chains.sync([nat], false)
      t.equal(rules('nat', 'OURS-NAT').length, 2)
      await chains.remove([nat])
    })
  }
}
