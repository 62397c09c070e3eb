import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Worker } from 'node:worker_threads'
import t, { type Test } from 'tap'

import {
  ConntrackDump,
  ConntrackEvents,
  type DumpFilter,
} from '../../src/kernel/conntrack-table.js'
import { Netfilter } from '../../src/kernel/netfilter.js'
import { waitReadable } from '../../src/kernel/wait.js'
import type { IpFamily } from '../../src/lib/ip-address.js'
import { CONNTRACK_WORDS, ConntrackType, ConntrackWord } from '../../src/packet/conntrack-word.js'
import { TcpState } from '../../src/packet/tcp-state.js'
import { inNamespace, tool } from '../fixtures/in-namespace.js'

const DEADLINE_MS = 10_000
/** How long to listen for an event that must not come. */
const SILENCE_MS = 200
const [TCP, UDP] = [6, 17]
/** TCP_CONNTRACK_*: TIME_WAIT and CLOSE. */
const [TIME_WAIT, CLOSE] = [7, 8]
const LOOPBACK: Readonly<Record<IpFamily, string>> = { IPv4: '127.0.0.1', IPv6: '::1' }
const FAMILIES = ['IPv4', 'IPv6'] as const
/** Destination ports and the connection mark that a rule gives to them; 0: none. */
const MARKS: Readonly<Record<number, number>> = { 7000: 0, 7001: 0x10000, 7002: 0x20000 }
const MARK_MASK = 0xff0000

interface Entry {
  readonly type: number
  readonly family: number
  readonly protocol: number
  readonly mark: number
  readonly tcpState: number
  readonly sourcePort: number
  readonly destinationPort: number
  readonly source: Buffer
  readonly tuple: Uint32Array
}

function entriesOf(records: Uint32Array, count: number): Entry[] {
  return Array.from({ length: count }, (_, index) => {
    const words = records.slice(index * CONNTRACK_WORDS, (index + 1) * CONNTRACK_WORDS)
    const word = (name: keyof typeof ConntrackWord): number => words[ConntrackWord[name]]!
    const [sourcePort, destinationPort] = [word('sourcePort'), word('destinationPort')]
    const tuple = new Uint32Array(10)
    tuple.set(words.subarray(ConntrackWord.source, ConntrackWord.source + 8))
    tuple[8] = ((sourcePort << 16) | destinationPort) >>> 0
    tuple[9] = word('protocol')
    return {
      type: word('type'),
      family: word('family'),
      protocol: word('protocol'),
      mark: word('mark'),
      tcpState: word('tcpState'),
      sourcePort,
      destinationPort,
      source: Buffer.from(words.buffer, ConntrackWord.source * 4, 16),
      tuple,
    }
  })
}

/** The entries of the kernel's table that a filter lets through. */
function dump(filter: DumpFilter): Entry[] {
  const reader = new ConntrackDump(filter)
  const entries: Entry[] = []
  try {
    for (;;) {
      const count = reader.receive()
      if (count === 'changed') return dump(filter)
      if (count === 'complete') return entries
      if (count === 0 && waitReadable(Int32Array.of(reader.fd), DEADLINE_MS) === 0) {
        throw new Error('the dump does not end')
      }
      entries.push(...entriesOf(reader.records, count))
    }
  } finally {
    reader.close()
  }
}

/** Takes events in until `isEnough`, or nothing comes for `waitMs`. */
function collect(
  events: ConntrackEvents,
  isEnough: (entries: readonly Entry[]) => boolean,
  waitMs = DEADLINE_MS,
): Entry[] {
  const entries: Entry[] = []
  while (!isEnough(entries)) {
    if (waitReadable(Int32Array.of(events.fd), waitMs) === 0) break
    const count = events.receive()
    if (count === 'lost') throw new Error('events were lost')
    entries.push(...entriesOf(events.records, count))
  }
  return entries
}

const silence = (events: ConntrackEvents): Entry[] => collect(events, () => false, SILENCE_MS)

function subscribe(t: Test, markMask = MARK_MASK, bufferBytes = 1 << 20): ConntrackEvents {
  const events = new ConntrackEvents({ markMask, bufferBytes })
  t.teardown(() => {
    events.close()
  })
  return events
}

/** Sends one datagram to each port, from a source port of its own each; returns the source ports. */
async function sendTo(family: IpFamily, ports: readonly number[]): Promise<number[]> {
  const sources: number[] = []
  for (const port of ports) {
    const socket = createSocket(family === 'IPv4' ? 'udp4' : 'udp6')
    await new Promise<void>((resolve, reject) => {
      socket.send('x', port, LOOPBACK[family], (error) => {
        if (error) reject(error)
        else resolve()
      })
    })
    sources.push(socket.address().port)
    socket.close()
  }
  return sources
}

/** A connection to a port, with both of its ends. */
async function openTcp(t: Test, family: IpFamily, port: number): Promise<[Socket, Socket]> {
  const server = createServer({ allowHalfOpen: false }).listen(port, LOOPBACK[family])
  t.teardown(() => server.close())
  await once(server, 'listening')
  const client = connect((server.address() as AddressInfo).port, LOOPBACK[family])
  const [accepted] = (await once(server, 'connection')) as [Socket]
  for (const socket of [client, accepted]) socket.resume().on('error', () => undefined)
  // A reset: nothing is sent later, which would make an entry anew.
  t.teardown(() => client.resetAndDestroy())
  return [client, accepted]
}

const portsOf = (entries: readonly Entry[]): number[] =>
  entries.map(({ destinationPort }) => destinationPort).sort((a, b) => a - b)

function flush(): void {
  tool('conntrack', ['-F'])
}

if (inNamespace(t, import.meta.url)) {
  for (const iptables of ['iptables', 'ip6tables']) {
    for (const [port, mark] of Object.entries(MARKS)) {
      for (const protocol of ['tcp', 'udp']) {
        const rule = `-t mangle -A OUTPUT -p ${protocol} --dport ${port} -j CONNMARK --set-mark ${mark}`
        tool(iptables, rule.split(' '))
      }
    }
  }
  const netfilter = new Netfilter()
  t.teardown(() => {
    netfilter.close()
  })
  t.beforeEach(flush)

  for (const family of FAMILIES) {
    t.test(`${family}: events of connections with our mark only`, async (t) => {
      const events = subscribe(t)
      t.ok(events.bufferBytes >= 1 << 20)
      const sources = await sendTo(family, [7000, 7001, 7002])
      const created = collect(events, (entries) => entries.length === 2)
      t.same(portsOf(created), [7001, 7002])
      t.match(created[0], {
        type: ConntrackType.new,
        family: family === 'IPv4' ? 4 : 6,
        protocol: UDP,
        mark: MARKS[7001],
        sourcePort: sources[1],
      })
      const address = family === 'IPv4' ? '7f000001' : '00000000000000000000000000000001'
      t.equal(created[0]!.source.toString('hex'), address.padEnd(32, '0'))
      t.same(silence(events), [])
      flush()
      const destroyed = collect(events, (entries) => entries.length === 2)
      t.same(portsOf(destroyed), [7001, 7002])
      t.ok(destroyed.every(({ type }) => type === ConntrackType.destroy))
    })

    t.test(`${family}: a mask of one bit, and none`, async (t) => {
      const [one, all] = [subscribe(t, 0x20000), subscribe(t, 0)]
      await sendTo(family, [7000, 7001, 7002])
      t.same(portsOf(collect(all, (entries) => entries.length === 3)), [7000, 7001, 7002])
      t.same(portsOf([...collect(one, (found) => found.length === 1), ...silence(one)]), [7002])
    })

    t.test(`${family}: TCP is reported once when it is new and once when it closes`, async (t) => {
      const events = subscribe(t)
      for (const { state, port, end } of [
        { state: TIME_WAIT, port: 7001, end: (socket: Socket) => socket.end() },
        { state: CLOSE, port: 7002, end: (socket: Socket) => socket.resetAndDestroy() },
      ]) {
        const [client, accepted] = await openTcp(t, family, port)
        const [created] = collect(events, (entries) => entries.length === 1)
        t.match(created, { type: ConntrackType.new, protocol: TCP, destinationPort: port })
        client.write('x')
        await once(accepted, 'data')
        t.same(silence(events), [], 'what happens in between is not told')
        const isClosed = new Promise((resolve) => accepted.once('close', resolve))
        end(client)
        await isClosed
        const closing = [...collect(events, (found) => found.length === 1), ...silence(events)]
        t.equal(closing.length, 1)
        t.match(closing[0], { type: ConntrackType.update, tcpState: state, destinationPort: port })
        t.equal(closing[0]!.sourcePort, created!.sourcePort)
      }
    })

    t.test(`${family}: dumps what has the mark and the protocol`, async (t) => {
      await sendTo(family, [7000, 7001, 7002, 7002])
      await openTcp(t, family, 7001)
      const markMask = MARK_MASK
      t.same(portsOf(dump({ family })), [7000, 7001, 7001, 7002, 7002])
      t.same(portsOf(dump({ family, mark: 0x20000, markMask })), [7002, 7002])
      t.same(portsOf(dump({ family, mark: 0x10000, markMask })), [7001, 7001])
      t.same(portsOf(dump({ family, mark: 0x10000, markMask, protocol: UDP })), [7001])
      t.same(portsOf(dump({ family, mark: 0, markMask })), [7000])
      t.same(portsOf(dump({ family, mark: 0x30000, markMask })), [])
      const other = family === 'IPv4' ? 'IPv6' : 'IPv4'
      t.same(dump({ family: other }), [])
    })

    t.test(`${family}: deletes one entry, and says whether it was there`, async (t) => {
      await sendTo(family, [7001, 7001, 7002])
      const [first] = dump({ family, mark: 0x10000, markMask: MARK_MASK })
      t.equal(netfilter.deleteConnection(family, first!.tuple), true)
      t.equal(netfilter.deleteConnection(family, first!.tuple), false)
      t.same(portsOf(dump({ family })), [7001, 7002])
    })

    t.test(`${family}: deletes by mark, and leaves all others`, async (t) => {
      for (const each of FAMILIES) await sendTo(each, [7000, 7001, 7001, 7002])
      netfilter.deleteMarkedConnections(family, 0x10000, MARK_MASK)
      t.same(portsOf(dump({ family })), [7000, 7002])
      const other = family === 'IPv4' ? 'IPv6' : 'IPv4'
      t.same(portsOf(dump({ family: other })), [7000, 7001, 7001, 7002])
      netfilter.deleteMarkedConnections(family, 0x30000, MARK_MASK)
      t.same(portsOf(dump({ family })), [7000, 7002])
      for (const [mark, mask] of [
        [0, MARK_MASK],
        [0x10000, 0],
      ] as const) {
        t.throws(() => {
          netfilter.deleteMarkedConnections(family, mark, mask)
        }, /EINVAL/)
      }
      t.same(portsOf(dump({ family })), [7000, 7002])
    })
  }

  t.test('an overrun is told once, and events come again afterwards', async (t) => {
    const events = subscribe(t, MARK_MASK, 1)
    const ports = Array.from({ length: 200 }, () => 7001)
    await sendTo('IPv4', ports)
    const results = Array.from({ length: ports.length }, () => events.receive())
    t.equal(results.filter((result) => result === 'lost').length, 1)
    t.equal(results.at(-1), 0)
    const [source] = await sendTo('IPv4', [7002])
    const later = collect(events, (entries) => entries.length === 1)
    t.match(later, [{ destinationPort: 7002, sourcePort: source }])
  })

  t.test('a table of thousands is dumped in pieces, whole', async (t) => {
    const lines = Array.from({ length: 5000 }, (_, index) => {
      const mark = index % 5 === 0 ? 0x10000 : 0x20000
      return `-I -p udp -s 192.0.2.1 -d 192.0.2.2 --sport ${index + 1} --dport 53 -t 300 -m ${mark}\n`
    })
    // It opens /dev/stdin, which cannot be done with the socket that Node makes of it.
    tool('sh', ['-c', 'cat | conntrack -R -'], lines.join(''))
    const found = dump({ family: 'IPv4', mark: 0x10000, markMask: MARK_MASK })
    t.equal(new Set(found.map(({ sourcePort }) => sourcePort)).size, 1000)
    t.equal(found.length, 1000)
    t.equal(dump({ family: 'IPv4' }).length, 5000)
  })

  t.test('it works in two worker threads at once', async (t) => {
    await sendTo('IPv4', [7001, 7001])
    const code = `
      const { parentPort, workerData } = require('node:worker_threads')
      Promise.all(workerData.map((url) => import(url))).then(([table, netfilter, wait]) => {
        const events = new table.ConntrackEvents({ markMask: 0xff0000, bufferBytes: 1 << 20 })
        const dump = new table.ConntrackDump({ family: 'IPv4', mark: 0x10000, markMask: 0xff0000 })
        let found = 0
        for (let count = 0; typeof count === 'number'; found += count) {
          count = dump.receive()
          if (typeof count !== 'number') break
          if (count === 0) wait.waitReadable(Int32Array.of(dump.fd), 5000)
        }
        dump.close()
        parentPort.postMessage({ found })
        wait.waitReadable(Int32Array.of(events.fd), 5000)
        parentPort.postMessage({ events: events.receive() })
        events.close()
      })`
    const files = ['conntrack-table', 'netfilter', 'wait']
    const urls = files.map((name) => new URL(`../../dist/kernel/${name}.js`, import.meta.url).href)
    const workers = [0, 1].map(
      () => new Worker(code, { eval: true, workerData: urls, execArgv: [] }),
    )
    const dumped = await Promise.all(workers.map((worker) => once(worker, 'message')))
    t.same(dumped, [[{ found: 2 }], [{ found: 2 }]])
    const reported = workers.map((worker) => once(worker, 'message'))
    await sendTo('IPv4', [7002])
    t.same(await Promise.all(reported), [[{ events: 1 }], [{ events: 1 }]])
  })

  t.test('answers: with them, a connection whose SYN is answered is an event', async (t) => {
    const withAnswers = new ConntrackEvents({
      markMask: MARK_MASK,
      bufferBytes: 1 << 20,
      answers: true,
    })
    t.teardown(() => {
      withAnswers.close()
    })
    const without = subscribe(t)
    await openTcp(t, 'IPv4', 7001)
    const entries = collect(withAnswers, ({ length }) => length === 2)
    t.match(entries, [
      { type: ConntrackType.new, tcpState: TcpState.synSent },
      { type: ConntrackType.update, tcpState: TcpState.synReceived },
    ])
    t.same(silence(withAnswers), [])
    t.equal(collect(without, () => false, SILENCE_MS).length, 1)
    // Either can become the other while it is open.
    withAnswers.setAnswers(false)
    without.setAnswers(true)
    await openTcp(t, 'IPv4', 7002)
    t.equal(collect(without, ({ length }) => length === 2).length, 2)
    t.equal(collect(withAnswers, () => false, SILENCE_MS).length, 1)
  })

  t.test('closed twice is closed once, and cannot be used', async (t) => {
    const handles = [
      new ConntrackDump({ family: 'IPv4' }),
      new ConntrackEvents({ markMask: 1, bufferBytes: 4096 }),
    ]
    for (const handle of handles) {
      handle.close()
      handle.close()
      t.throws(() => handle.receive(), TypeError)
    }
  })
}
