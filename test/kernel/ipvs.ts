import t from 'tap'

import type { CommandResult, RunCommand } from '../../src/kernel/command.js'
import {
  changeVirtualServers,
  parseVirtualServers,
  readConnections,
  readVirtualServers,
  type VirtualServer,
} from '../../src/kernel/ipvs.js'
import { creation, diffVirtualServers } from '../../src/kernel/ipvs-changes.js'

/** As `ipvsadm -Sn` of a real kernel prints it. */
const SAVED = `-A -t 10.96.0.1:443 -s rr
-a -t 10.96.0.1:443 -r 10.0.0.1:6443 -m -w 1
-A -t 10.96.0.2:443 -s mh -p 100 -b mh-fallback,mh-port
-a -t 10.96.0.2:443 -r 10.0.0.1:6443 -m -w 5
-A --sctp-service 10.96.0.4:443 -s wlc
-A -u [fd00::1]:53 -s wrr -p 10800
-a -u [fd00::1]:53 -r [fd00::5]:53 -m -w 256
-A -f 5 -s rr
-a -f 5 -r 10.0.0.1:0 -m -w 1
`

function fake(results: Readonly<Record<string, Partial<CommandResult>>>) {
  const calls: { args: string; input: string | undefined }[] = []
  const run: RunCommand = async (tool, args, input) => {
    const key = [tool, ...args].join(' ')
    calls.push({ args: key, input })
    return { status: 0, stdout: '', stderr: '', ...results[key] }
  }
  return { run, calls }
}

function withReal(server: VirtualServer, realServers: Readonly<Record<string, number>>) {
  return { ...server, realServers: new Map(Object.entries(realServers)) }
}

t.test('what the kernel has is read back to the letter, but for firewall marks', async (t) => {
  const { run } = fake({ 'ipvsadm -Sn': { stdout: SAVED } })
  const servers = await readVirtualServers(run)
  t.strictSame(
    [...servers.keys()],
    ['TCP 10.96.0.1:443', 'TCP 10.96.0.2:443', 'SCTP 10.96.0.4:443', 'UDP [fd00::1]:53'],
  )
  const lines = [...servers.values()].flatMap(creation)
  t.strictSame(lines, SAVED.split('\n').slice(0, 7))
})

t.test('lines that are none are passed over', async (t) => {
  t.equal(parseVirtualServers('-A -t nonsense -s rr\n-A\n\n-a -t 1.2.3.4:80\n').size, 0)
})

t.test('a difference is few lines, and real servers come before others go', async (t) => {
  const before = parseVirtualServers(SAVED)
  const after = new Map(before)
  const one = before.get('TCP 10.96.0.1:443')!
  const two = before.get('TCP 10.96.0.2:443')!
  after.set('TCP 10.96.0.1:443', withReal(one, { '10.0.0.2:6443': 3 }))
  after.set('TCP 10.96.0.2:443', {
    ...withReal(two, { '10.0.0.1:6443': 0 }),
    persistentSeconds: undefined,
  })
  after.delete('SCTP 10.96.0.4:443')
  t.strictSame(diffVirtualServers(before, after), {
    removals: ['-D --sctp-service 10.96.0.4:443'],
    changes: [
      '-a -t 10.96.0.1:443 -r 10.0.0.2:6443 -m -w 3',
      '-d -t 10.96.0.1:443 -r 10.0.0.1:6443',
      '-E -t 10.96.0.2:443 -s mh -b mh-fallback,mh-port',
      '-e -t 10.96.0.2:443 -r 10.0.0.1:6443 -m -w 0',
    ],
  })
  const same = parseVirtualServers(SAVED)
  t.strictSame(diffVirtualServers(before, same), { removals: [], changes: [] })
})

t.test('what ipvsadm refuses is told, as it ends with 0 all the same', async (t) => {
  const { run, calls } = fake({ 'ipvsadm -R': { stderr: 'Service already exists\n' } })
  t.strictSame(await changeVirtualServers(run, []), [])
  t.equal(calls.length, 0, 'nothing to do, nothing run')
  t.strictSame(await changeVirtualServers(run, ['-D -t 10.96.0.1:80']), ['Service already exists'])
  t.strictSame(calls, [{ args: 'ipvsadm -R', input: '-D -t 10.96.0.1:80\n' }])
})

t.test('connections, of one virtual server or of all', async (t) => {
  const header =
    'Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port  Forward Weight ...\n'
  const text = `${header}TCP  10.96.0.1:443 rr
  -> 10.0.0.1:6443                Masq    1      3          14
UDP  [fd00::1]:53 wrr persistent 10800
  -> [fd00::5]:53                 Masq    256    0          1
FWM  5 rr
`
  const one = parseVirtualServers(SAVED).get('TCP 10.96.0.1:443')!
  const { run } = fake({
    'ipvsadm -L -n --exact -t 10.96.0.1:443': { stdout: text },
    'ipvsadm -L -n --exact': { stdout: text },
  })
  for (const servers of [[one], new Array<VirtualServer>(100).fill(one)]) {
    const found = await readConnections(run, servers)
    t.strictSame(found.get('TCP 10.96.0.1:443')?.get('10.0.0.1:6443'), { active: 3, inactive: 14 })
    t.strictSame(found.get('UDP [fd00::1]:53')?.get('[fd00::5]:53'), { active: 0, inactive: 1 })
  }
})
