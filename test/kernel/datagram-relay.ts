/** The datagram relay of the native addon as the program sees it, on loopback. */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import t, { type Test } from 'tap'

import {
  NativeDatagramRelay,
  type DatagramEnd,
  type DatagramEvents,
  type DatagramTarget,
} from '../../src/kernel/datagram-relay.js'
import { boundPort, openSocket } from '../../src/kernel/socket.js'
import { addressWords } from '../../src/packet/address-words.js'
import { EventRecorder } from '../fixtures/event-recorder.js'

const BUFFER_BYTES = 1 << 20
const LONG_MS = 60_000

class Recorder extends EventRecorder implements DatagramEvents {
  created(...args: unknown[]): void {
    this.record('created', args)
  }
  connected(...args: unknown[]): void {
    this.record('connected', args)
  }
  answered(...args: unknown[]): void {
    this.record('answered', args)
  }
  refused(...args: unknown[]): void {
    this.record('refused', args)
  }
  silent(...args: unknown[]): void {
    this.record('silent', args)
  }
  closed(...args: unknown[]): void {
    this.record('closed', args)
  }
}

type Family = 'IPv4' | 'IPv6'

function startRelay(t: Test, family: Family = 'IPv4', maxSessions = 100) {
  const events = new Recorder()
  const relay = new NativeDatagramRelay(maxSessions, events)
  t.teardown(() => {
    relay.close()
  })
  relay.setTimeouts({ idleMs: LONG_MS, streamMs: LONG_MS, retryWithinMs: LONG_MS })
  const host = family === 'IPv4' ? '127.0.0.1' : '::1'
  const fd = openSocket({ type: 'udp', family, bind: { address: host, port: 0 } })
  const port = boundPort(fd)
  const listener = relay.listen(fd, BUFFER_BYTES)
  return { events, relay, listener, host, port }
}

async function socketOf(t: Test, family: Family): Promise<Socket> {
  const socket = createSocket(family === 'IPv4' ? 'udp4' : 'udp6')
  t.teardown(() => socket.close())
  socket.bind(0, family === 'IPv4' ? '127.0.0.1' : '::1')
  await once(socket, 'listening')
  return socket
}

function target(endpoint: Socket, attempt = 1): DatagramTarget {
  const { address, port } = endpoint.address()
  const family = address.includes(':') ? 'IPv6' : 'IPv4'
  return { family, address: addressWords(address), port, source: undefined, attempt }
}

for (const family of ['IPv4', 'IPv6'] as const) {
  t.test(`${family}: a session from its first datagram to its end`, async (t) => {
    const { events, relay, listener, host, port } = startRelay(t, family)
    const endpoint = await socketOf(t, family)
    const client = await socketOf(t, family)
    client.send('request', port, host)
    const [slot, from, address] = (await events.next('created')) as [number, number, object]
    t.equal(from, listener)
    t.same(address, { address: host, port: client.address().port })
    const request = once(endpoint, 'message')
    relay.connect(slot, target(endpoint))
    const [text, sender] = (await request) as [Buffer, { port: number; address: string }]
    t.equal(text.toString(), 'request')
    const reply = once(client, 'message')
    endpoint.send('an answer', sender.port, sender.address)
    t.equal(String((await reply)[0]), 'an answer')
    t.same(await events.next('connected'), [slot, 1])
    const [, attempt, latencyMs] = (await events.next('answered')) as [number, number, number]
    t.equal(attempt, 1)
    t.ok(latencyMs >= 0 && latencyMs < LONG_MS)
    const { sessions, sentUp, sentDown } = relay.counters()
    t.same({ sessions, sentUp, sentDown }, { sessions: 1, sentUp: 1, sentDown: 1 })
    relay.stop(slot)
    const end: DatagramEnd = {
      reason: 'ended',
      errnoName: undefined,
      hasReply: true,
      bytesToEndpoint: 7,
      bytesToClient: 9,
    }
    t.same(await events.next('closed'), [slot, end])
    t.equal(relay.counters().sessions, 0)
  })
}

t.test('a refused datagram goes to the next endpoint', async (t) => {
  const { events, relay, host, port } = startRelay(t)
  const endpoint = await socketOf(t, 'IPv4')
  const gone = await socketOf(t, 'IPv4')
  const nobody = target(gone)
  t.ok(nobody.port > 0)
  const client = await socketOf(t, 'IPv4')
  // A socket that is connected elsewhere takes nothing from the relay: the kernel refuses for it.
  gone.connect(9, '127.0.0.1')
  await once(gone, 'connect')
  client.send('request', port, host)
  const [slot] = (await events.next('created')) as [number]
  relay.connect(slot, nobody)
  t.same(await events.next('connected'), [slot, 1])
  t.same(await events.next('refused'), [slot, 1, false])
  const request = once(endpoint, 'message')
  relay.connect(slot, target(endpoint, 2))
  t.equal(String((await request)[0]), 'request')
  t.same(await events.next('connected'), [slot, 2])
})

t.test('the ends that are nobody’s wish are told', async (t) => {
  const { events, relay, host, port } = startRelay(t, 'IPv4', 1)
  const client = await socketOf(t, 'IPv4')
  client.send('one', port, host)
  const [slot] = (await events.next('created')) as [number]
  // A connect to it needs SO_BROADCAST.
  const address = addressWords('255.255.255.255')
  relay.connect(slot, { family: 'IPv4', address, port: 9, source: undefined, attempt: 1 })
  const [, failed] = (await events.next('closed')) as [number, DatagramEnd]
  t.equal(failed.reason, 'failed')
  t.match(failed.errnoName, /^E[A-Z]+$/)

  client.send('two', port, host)
  const [evictedSlot] = (await events.next('created')) as [number]
  const other = await socketOf(t, 'IPv4')
  other.send('three', port, host)
  const [closedSlot, evicted] = (await events.next('closed')) as [number, DatagramEnd]
  t.equal(closedSlot, evictedSlot)
  t.equal(evicted.reason, 'evicted')
  t.equal(relay.counters().evictions, 1)
  await events.next('created')

  relay.setTimeouts({ idleMs: 1, streamMs: LONG_MS, retryWithinMs: LONG_MS })
  const [, expired] = (await events.next('closed')) as [number, DatagramEnd]
  t.equal(expired.reason, 'expired')
})

t.test('a closed listener frees its address at once', async (t) => {
  const { events, relay, listener, host, port } = startRelay(t)
  const client = await socketOf(t, 'IPv4')
  client.send('one', port, host)
  const [slot] = (await events.next('created')) as [number]
  relay.unlisten(listener)
  const fd = openSocket({ type: 'udp', family: 'IPv4', bind: { address: host, port } })
  t.not(relay.listen(fd, BUFFER_BYTES), listener)
  t.match(await events.next('closed'), [slot, { reason: 'ended' }])
  t.throws(() => {
    relay.unlisten(listener)
  })
  relay.close()
  relay.close()
  relay.unlisten(listener)
  relay.stop(slot)
  t.equal(relay.counters().sentUp, 0)
})
