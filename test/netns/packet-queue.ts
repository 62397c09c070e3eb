/** PacketQueue on the real kernel: what rules send to it comes out as the verdicts say. */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import t, { type Test } from 'tap'

import { PacketQueue, readQueueCounters } from '../../src/kernel/packet-queue.js'
import type { OpenQueueArg } from '../../src/kernel/queue-addon-types.js'
import { waitReadable } from '../../src/kernel/wait.js'
import type { IpFamily } from '../../src/lib/ip-address.js'
import {
  PACKET_WORDS,
  PacketFlag,
  PacketWord,
  TcpFlag,
  Verdict,
} from '../../src/packet/packet-word.js'
import { inNamespace, tool } from '../fixtures/in-namespace.js'

const DEADLINE_MS = 10_000
const SILENCE_MS = 200
const LOOPBACK: Readonly<Record<IpFamily, string>> = { IPv4: '127.0.0.1', IPv6: '::1' }
const FAMILIES = ['IPv4', 'IPv6'] as const
/** Port 9000 + n goes to queue 10 + n; what leaves a queue with this mark goes to port 9100. */
const [FIRST_PORT, FIRST_QUEUE, QUEUES, MARK, MARKED_PORT] = [9000, 10, 4, 0x40, 9100]
/** All that comes from this port goes to the first queue. */
const BULK_PORT = 9200
const [TCP, UDP] = [6, 17]

const OPTIONS: OpenQueueArg = {
  first: FIRST_QUEUE,
  count: QUEUES,
  batch: 32,
  copyRange: 256,
  length: 1024,
  bufferBytes: 1 << 20,
  failOpen: false,
  gso: false,
}

function openQueue(t: Test, options: Partial<OpenQueueArg> = {}): PacketQueue {
  const queue = new PacketQueue({ ...OPTIONS, ...options })
  t.teardown(() => {
    queue.close()
  })
  return queue
}

/** Receives once, when something is there; how many records there are. */
function receive(queue: PacketQueue, waitMs = DEADLINE_MS): number {
  return waitReadable(Int32Array.of(queue.fd), waitMs) === 0 ? 0 : queue.receive()
}

const word = (queue: PacketQueue, index: number, name: keyof typeof PacketWord): number =>
  queue.records[index * PACKET_WORDS + PacketWord[name]]!

function decide(queue: PacketQueue, index: number, verdict: number, mark = 0): void {
  queue.records[index * PACKET_WORDS + PacketWord.verdict] = verdict
  queue.records[index * PACKET_WORDS + PacketWord.verdictMark] = mark
}

function copyOf(queue: PacketQueue, index: number): Buffer {
  const start = word(queue, index, 'copyOffset')
  return Buffer.from(queue.copies.slice(start, start + word(queue, index, 'copyLength')))
}

/** A server for datagrams that keeps what comes. */
interface Inbox {
  readonly texts: string[]
  /** Resolves when there are `count`. */
  wait(count: number): Promise<void>
  close(): Promise<void>
}

async function openInbox(t: Test, family: IpFamily, port: number): Promise<Inbox> {
  const socket = datagramSocket(family)
  let isOpen = true
  const close = async (): Promise<void> => {
    if (!isOpen) return
    isOpen = false
    socket.close()
    await once(socket, 'close')
  }
  t.teardown(close)
  socket.bind(port, LOOPBACK[family])
  await once(socket, 'listening')
  const texts: string[] = []
  socket.on('message', (message) => texts.push(message.toString()))
  return {
    texts,
    close,
    wait: async (count) => {
      const signal = AbortSignal.timeout(DEADLINE_MS)
      while (texts.length < count) await once(socket, 'message', { signal })
    },
  }
}

function datagramSocket(family: IpFamily): Socket {
  return createSocket(family === 'IPv4' ? 'udp4' : 'udp6')
}

async function send(family: IpFamily, port: number, texts: readonly string[]): Promise<void> {
  const socket = datagramSocket(family)
  for (const text of texts) {
    await new Promise<void>((resolve, reject) => {
      socket.send(text, port, LOOPBACK[family], (error) => {
        if (error) reject(error)
        else resolve()
      })
    })
  }
  socket.close()
}

const numbers = (count: number): string[] => Array.from({ length: count }, (_, index) => `${index}`)

const BULK_BYTES = 300_000

/** What a server sends through the queue; bytes that arrive, and the longest packet that came up. */
async function fetchThrough(
  queue: PacketQueue,
  family: IpFamily,
): Promise<{ bytes: number; longest: number }> {
  const server = createServer((socket) => socket.end(Buffer.alloc(BULK_BYTES)))
  server.listen(BULK_PORT, LOOPBACK[family])
  await once(server, 'listening')
  const client = connect(BULK_PORT, LOOPBACK[family])
  let bytes = 0
  client.on('data', (chunk) => (bytes += chunk.length))
  const deadline = Date.now() + DEADLINE_MS
  let longest = 0
  while (!client.closed && Date.now() < deadline) {
    const count = queue.receive()
    for (let index = 0; index < count; index++) {
      longest = Math.max(longest, word(queue, index, 'length'))
    }
    queue.answer(count)
    await setImmediate()
  }
  client.destroy()
  server.close()
  return { bytes, longest }
}

function addRules(): void {
  for (const iptables of ['iptables', 'ip6tables']) {
    for (let index = 0; index < QUEUES; index++) {
      for (const match of ['udp', 'tcp --syn']) {
        const rule = `-p ${match} --dport ${FIRST_PORT + index} -j NFQUEUE --queue-num ${FIRST_QUEUE + index}`
        tool(iptables, `-t mangle -A OUTPUT ${rule}`.split(' '))
      }
    }
    const bulk = `-p tcp --sport ${BULK_PORT} -j NFQUEUE --queue-num ${FIRST_QUEUE}`
    tool(iptables, `-t mangle -A OUTPUT ${bulk}`.split(' '))
    const rule = `-p udp -m mark --mark ${MARK} -j REDIRECT --to-ports ${MARKED_PORT}`
    tool(iptables, `-t nat -A OUTPUT ${rule}`.split(' '))
  }
}

if (inNamespace(t, import.meta.url)) {
  addRules()

  for (const family of FAMILIES) {
    t.test(`${family}: packets are accepted, marked and dropped`, async (t) => {
      const queue = openQueue(t)
      const plain = await openInbox(t, family, FIRST_PORT)
      const marked = await openInbox(t, family, MARKED_PORT)
      const sends = { accepted: Verdict.accept, dropped: Verdict.drop, marked: undefined }
      for (const [text, verdict] of Object.entries(sends)) {
        await send(family, FIRST_PORT, [text])
        t.equal(receive(queue), 1)
        t.equal(word(queue, 0, 'family'), family === 'IPv4' ? 4 : 6)
        t.equal(word(queue, 0, 'protocol'), UDP)
        t.equal(word(queue, 0, 'flags'), PacketFlag.hasPorts)
        t.equal(word(queue, 0, 'destinationPort'), FIRST_PORT)
        t.ok(copyOf(queue, 0).toString('latin1').endsWith(text))
        if (verdict === undefined) decide(queue, 0, Verdict.acceptMarked, MARK)
        else decide(queue, 0, verdict)
        queue.answer(1)
      }
      await Promise.all([plain.wait(1), marked.wait(1)])
      t.equal(receive(queue, SILENCE_MS), 0)
      t.same(
        { plain: plain.texts, marked: marked.texts },
        { plain: ['accepted'], marked: ['marked'] },
      )
    })

    t.test(`${family}: one socket serves several queues, in batches`, async (t) => {
      const queue = openQueue(t)
      const inboxes: Inbox[] = []
      for (let index = 0; index < QUEUES; index++) {
        inboxes.push(await openInbox(t, family, FIRST_PORT + index))
        await send(family, FIRST_PORT + index, numbers(25))
      }
      const perQueue = new Map<number, number>()
      const sizes: number[] = []
      while (sizes.reduce((sum, size) => sum + size, 0) < QUEUES * 25) {
        const count = receive(queue)
        if (count === 0) break
        sizes.push(count)
        for (let index = 0; index < count; index++) {
          const number = word(queue, index, 'queue')
          t.equal(word(queue, index, 'destinationPort') - FIRST_PORT, number - FIRST_QUEUE)
          perQueue.set(number, (perQueue.get(number) ?? 0) + 1)
        }
        queue.answer(count)
      }
      t.same(sizes, [32, 32, 32, 4])
      t.same(perQueue, new Map(inboxes.map((_, index) => [FIRST_QUEUE + index, 25])))
      for (const inbox of inboxes) {
        await inbox.wait(25)
        t.same(inbox.texts, numbers(25))
      }
    })

    t.test(`${family}: a full queue drops, or lets pass what it cannot take`, async (t) => {
      for (const failOpen of [false, true]) {
        const queue = openQueue(t, { length: 4, failOpen })
        const inbox = await openInbox(t, family, FIRST_PORT)
        await send(family, FIRST_PORT, numbers(10))
        const counters = readQueueCounters().find((each) => each.queue === FIRST_QUEUE)
        t.match(counters, { waiting: 4 })
        if (failOpen) await inbox.wait(6)
        else t.match(counters, { dropped: 6 })
        const count = receive(queue)
        t.equal(count, 4)
        queue.answer(count)
        const passed = numbers(10).slice(4)
        await inbox.wait(failOpen ? 10 : 4)
        t.same(inbox.texts, [...(failOpen ? passed : []), ...numbers(4)])
        queue.close()
        await inbox.close()
      }
    })

    t.test(`${family}: a SYN comes with its bytes, as many as asked for`, async (t) => {
      const server = createServer((socket) => socket.end()).listen(FIRST_PORT, LOOPBACK[family])
      t.teardown(() => server.close())
      await once(server, 'listening')
      for (const copyRange of [256, 44]) {
        const queue = openQueue(t, { copyRange })
        const client = connect(FIRST_PORT, LOOPBACK[family])
        const connected = once(client, 'connect')
        // connect(2) is called in the next tick.
        await setImmediate()
        t.equal(receive(queue), 1)
        const length = word(queue, 0, 'length')
        const copy = copyOf(queue, 0)
        t.equal(copy.length, Math.min(copyRange, length))
        t.equal(copy[0]! >> 4, family === 'IPv4' ? 4 : 6)
        t.equal(word(queue, 0, 'protocol'), TCP)
        const isWhole = copyRange >= length
        t.equal((word(queue, 0, 'flags') & PacketFlag.isTruncated) === 0, isWhole)
        if (isWhole) {
          t.equal(word(queue, 0, 'tcpFlags'), TcpFlag.syn)
          t.equal(copy.readUInt32BE(family === 'IPv4' ? 24 : 44), word(queue, 0, 'tcpSequence'))
        }
        queue.answer(1)
        await connected
        client.destroy()
        queue.close()
      }
    })
  }

  for (const family of FAMILIES) {
    t.test(`${family}: large packets come whole, or in segments`, async (t) => {
      tool('ip', ['link', 'set', 'lo', 'mtu', '1500'])
      t.teardown(() => tool('ip', ['link', 'set', 'lo', 'mtu', '65536']))
      for (const gso of [true, false]) {
        const queue = openQueue(t, { gso })
        const { bytes, longest } = await fetchThrough(queue, family)
        t.equal(bytes, BULK_BYTES)
        if (gso) t.ok(longest > 1500, `${longest} bytes`)
        else t.ok(longest <= 1500, `${longest} bytes`)
        queue.close()
      }
    })
  }

  t.test('a queue has one owner', async (t) => {
    const queue = openQueue(t)
    const other = { ...OPTIONS, first: FIRST_QUEUE + QUEUES - 1, count: 2 }
    t.throws(() => new PacketQueue(other), { code: 'ERR_KERNEL', errnoName: 'EBUSY' })
    const numbers = readQueueCounters().map((each) => each.queue)
    t.same(numbers.sort(), [10, 11, 12, 13], 'what could be bound is not kept')
    queue.close()
    t.same(readQueueCounters(), [])
    openQueue(t, other)
    t.same(
      readQueueCounters()
        .map((each) => each.queue)
        .sort(),
      [13, 14],
    )
  })

  t.test('without the capability it is not said that the queue is another’s', async (t) => {
    const url = new URL('../../dist/kernel/packet-queue.js', import.meta.url).href
    const code = `const { PacketQueue } = await import('${url}')
      try { new PacketQueue(${JSON.stringify(OPTIONS)}) } catch (error) { console.log(error.errnoName) }`
    const node = [process.execPath, '--input-type=module', '-e', code]
    t.equal(tool('setpriv', ['--bounding-set=-net_admin', ...node]), 'EPERM\n')
  })

  t.test('closed twice is closed once, and cannot be used', async (t) => {
    const queue = openQueue(t)
    queue.close()
    queue.close()
    t.throws(() => queue.receive(), TypeError)
    t.throws(() => {
      queue.answer(1)
    }, TypeError)
  })
}
