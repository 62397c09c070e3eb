import t from 'tap'

import { RuleTable } from '../../../src/datapath/ipvs/rule-table.js'
import type { IptablesChain } from '../../../src/kernel/iptables.js'

const chain: IptablesChain = {
  table: 'nat',
  name: 'KUBE-SVC-AAAAAAAAAAAAAAAA',
  hooks: [],
  comment: '',
  rules: ['-j ACCEPT'],
}

t.test('a restore that fails is told of, also one that only removes', async (t) => {
  let failures = 0
  let broken = 'nothing'
  const run = async (_command: string, _args: readonly string[], text = '') => {
    const fails = text.includes(broken)
    return { status: fails ? 1 : 0, stdout: '', stderr: fails ? 'line 1 failed' : '' }
  }
  const table = new RuleTable(run, 'iptables', () => failures++)
  t.strictSame(await table.sync([chain], true), [])
  t.equal(failures, 0)
  broken = '-X KUBE-SVC'
  t.match(await table.sync([], false), [/^chains that are not needed any more stay/])
  t.equal(failures, 1)
  broken = '-A KUBE-SVC'
  await t.rejects(table.sync([chain], true), { code: 'ERR_TOOL' })
  t.equal(failures, 2)
})
