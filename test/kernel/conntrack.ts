import t from 'tap'

import { deleteUdpEntries } from '../../src/kernel/conntrack.js'

const LISTING = `udp      17 29 src=192.0.2.9 dst=10.96.0.10 sport=4053 dport=53 [UNREPLIED] src=10.0.0.1 dst=192.0.2.9 sport=5353 dport=4053 mark=0 use=1
udp      17 12 src=192.0.2.8 dst=10.96.0.10 sport=4000 dport=53 src=10.0.0.1 dst=192.0.2.8 sport=5353 dport=4000 [ASSURED] mark=0 use=1
udp      17 12 src=192.0.2.8 dst=198.51.100.1 sport=4000 dport=123 src=198.51.100.1 dst=192.0.2.8 sport=123 dport=4000 mark=0 use=1
`

t.test('deletes by destination, only those that have entries', async (t) => {
  const commands: string[] = []
  const count = await deleteUdpEntries(
    async (tool, args) => {
      commands.push([tool, ...args].join(' '))
      return { status: 0, stdout: args[0] === '-L' ? LISTING : '', stderr: '' }
    },
    'IPv4',
    [
      { address: '10.96.0.10', port: 53 },
      { address: '10.96.0.11', port: 53 },
      { address: '10.96.0.10', port: 54 },
    ],
  )
  t.equal(count, 1)
  t.same(commands, [
    'conntrack -L -p udp -f ipv4',
    'conntrack -D -p udp -f ipv4 --orig-dst 10.96.0.10 --orig-port-dst 53',
  ])
})

t.test('entries that end in between are fine, other failures are not', async (t) => {
  const remove = (stderr: string) =>
    deleteUdpEntries(
      async (_tool, [verb]) =>
        verb === '-L'
          ? { status: 0, stdout: LISTING, stderr: '' }
          : { status: 1, stdout: '', stderr },
      'IPv4',
      [{ address: '10.96.0.10', port: 53 }],
    )
  await t.resolves(remove('conntrack v1.4.7: 0 flow entries have been deleted.'))
  await t.rejects(remove('Operation failed: Operation not permitted'), { code: 'ERR_TOOL' })
})

t.test('nothing to delete runs nothing', async (t) => {
  const run = () => Promise.reject(new Error('run'))
  t.equal(await deleteUdpEntries(run, 'IPv6', []), 0)
})
