import t from 'tap'

import type { CommandResult } from '../../src/kernel/command.js'
import { removeNftTable } from '../../src/kernel/nft-table.js'

function nftWith(tables: string, status = 0) {
  const loaded: string[] = []
  const run = async (_: string, [verb = '']: readonly string[], input = '') => {
    if (verb === '-f') loaded.push(input)
    const result: CommandResult = { status: verb === 'list' ? status : 0, stdout: '', stderr: '' }
    return verb === 'list' ? { ...result, stdout: tables } : result
  }
  return { run, loaded }
}

t.test('a table that is there goes, in one transaction', async (t) => {
  const { run, loaded } = nftWith('table ip6 other\ntable ip6 mine\n')
  t.strictSame(await removeNftTable(run, 'IPv6', 'mine'), ['nftables table ip6 mine'])
  t.strictSame(loaded, ['add table ip6 mine\ndelete table ip6 mine\n'])
})

t.test('one whose name is only the beginning of another is not there', async (t) => {
  const { run, loaded } = nftWith('table ip mine-too\n')
  t.strictSame(await removeNftTable(run, 'IPv4', 'mine'), [])
  t.strictSame(loaded, [])
})

t.test('a kernel without nf_tables has none', async (t) => {
  t.strictSame(await removeNftTable(nftWith('', 1).run, 'IPv4', 'mine'), [])
})
