/** The pump of the native addon as the program sees it, on loopback. */
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import t, { type Test } from 'tap'

import {
  ConnectionPump,
  type PumpEvents,
  type PumpTarget,
} from '../../src/kernel/connection-pump.js'
import { boundPort, openSocket } from '../../src/kernel/socket.js'
import { addressWords } from '../../src/packet/address-words.js'
import { EventRecorder } from '../fixtures/event-recorder.js'

const OPTIONS = { splice: true, maxPipes: 8, maxConnections: 1000, maxWaiting: 100 }

class Recorder extends EventRecorder implements PumpEvents {
  accepted(...args: unknown[]): void {
    this.record('accepted', args)
  }
  acceptedPicked(...args: unknown[]): void {
    this.record('acceptedPicked', args)
  }
  connected(...args: unknown[]): void {
    this.record('connected', args)
  }
  failed(...args: unknown[]): void {
    this.record('failed', args)
  }
  returned(...args: unknown[]): void {
    this.record('returned', args)
  }
  silent(...args: unknown[]): void {
    this.record('silent', args)
  }
  spoke(...args: unknown[]): void {
    this.record('spoke', args)
  }
  mute(...args: unknown[]): void {
    this.record('mute', args)
  }
  closed(...args: unknown[]): void {
    this.record('closed', args)
  }
  batchSeen(): void {
    // Not of interest here.
  }
}

function startPump(t: Test, family: 'IPv4' | 'IPv6' = 'IPv4') {
  const events = new Recorder()
  const pump = new ConnectionPump(OPTIONS, events)
  t.teardown(() => {
    pump.close()
  })
  const host = family === 'IPv4' ? '127.0.0.1' : '::1'
  const fd = openSocket({ type: 'tcp', family, bind: { address: host, port: 0 } })
  const port = boundPort(fd)
  const listener = pump.listen(fd, family, { backlog: 128, redirected: false })
  return { events, pump, listener, host, port }
}

function target(server: Server): PumpTarget {
  const { address, port, family } = server.address() as AddressInfo
  return {
    family: family as 'IPv4' | 'IPv6',
    address: addressWords(address),
    port,
    source: undefined,
    timeoutMs: 5000,
    patienceMs: 5000,
    firstByteMs: 0,
  }
}

async function startServer(t: Test, host: string, serve: (socket: Socket) => void) {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined)
    serve(socket)
  })
  server.listen(0, host)
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
  })
  return server
}

for (const family of ['IPv4', 'IPv6'] as const) {
  t.test(`relays connections, ${family}`, async (t) => {
    const { events, pump, listener, host, port } = startPump(t, family)
    const echo = await startServer(t, host, (socket) => socket.pipe(socket))
    const clients = [connect(port, host), connect(port, host)]
    const slots: number[] = []
    while (slots.length < clients.length) {
      const [slot, from, client, destination] = await events.next('accepted')
      t.equal(from, listener)
      const ports = clients.map(({ localPort }) => localPort)
      t.match(client, { address: host, port: Number })
      t.ok(ports.includes((client as { port: number }).port))
      t.equal(destination, undefined)
      slots.push(slot as number)
    }
    t.not(slots[0], slots[1])
    for (const slot of slots) {
      pump.connect(slot, target(echo))
      const [connected, latencyMs] = await events.next('connected')
      t.equal(connected, slot)
      t.ok((latencyMs as number) >= 0 && (latencyMs as number) < 5000)
    }
    for (const client of clients) {
      client.end(Buffer.alloc(200_000, 'x'))
      let bytes = 0
      client.on('data', (chunk: Buffer) => (bytes += chunk.length))
      await once(client, 'end')
      t.equal(bytes, 200_000)
      const [, end, up, down] = await events.next('closed')
      t.same([end, up, down], ['closed', 200_000, 200_000])
    }
    const { open, accepts, bytesCopied, bytesSpliced } = pump.counters()
    t.same([open, accepts, bytesCopied + bytesSpliced], [0, 2, 800_000])
  })
}

t.test('connects by picks that it was given ahead', async (t) => {
  const { events, pump, listener, host, port } = startPump(t)
  const named = await startServer(t, host, (socket) => socket.end('here'))
  pump.pick(listener, [target(named), target(named)])
  const client = connect(port, host)
  t.equal(String((await once(client, 'data'))[0]), 'here')
  client.end()
  const [slot] = await events.next('acceptedPicked')
  t.equal((await events.next('connected'))[0], slot)
  t.same(await events.next('closed'), [slot, 'closed', 0, 4])
  t.equal(pump.counters().picksUsed, 1)
  t.equal(pump.unpick(listener), 1)
  connect(port, host).on('error', () => undefined)
  await events.next('accepted')
  pump.close()
  pump.pick(listener, [target(named)])
  t.equal(pump.unpick(listener), 0)
})

t.test('says why a connect failed, and tries again', async (t) => {
  const { events, pump, host, port } = startPump(t)
  const gone = await startServer(t, host, () => undefined)
  const refused = target(gone)
  gone.close()
  const named = await startServer(t, host, (socket) => socket.end('here'))
  const client = connect(port, host)
  const [slot] = await events.next('accepted')
  pump.connect(slot as number, refused)
  t.same(await events.next('failed'), [slot, 'ECONNREFUSED'])
  pump.connect(slot as number, target(named))
  await events.next('connected')
  t.equal(String((await once(client, 'data'))[0]), 'here')
  client.end()
  t.same(await events.next('closed'), [slot, 'closed', 0, 4])
})

t.test('says that a connect is silent, and waits for it', async (t) => {
  const { events, pump, host, port } = startPump(t)
  connect(port, host).on('error', () => undefined)
  const [slot] = await events.next('accepted')
  // Another pump that may hold nobody: its listener's accept queue of one is full after two.
  const full = new ConnectionPump({ ...OPTIONS, maxWaiting: 0 }, new Recorder())
  t.teardown(() => {
    full.close()
  })
  const fd = openSocket({ type: 'tcp', family: 'IPv4', bind: { address: host, port: 0 } })
  const fullPort = boundPort(fd)
  full.listen(fd, 'IPv4', { backlog: 0, redirected: false })
  const first = connect(fullPort, host).on('error', () => undefined)
  await once(first, 'connect')
  const address = addressWords(host)
  const times = { timeoutMs: 80, patienceMs: 20, firstByteMs: 0 }
  pump.connect(slot as number, {
    ...{ family: 'IPv4', address, port: fullPort, source: undefined },
    ...times,
  })
  t.same(await events.next('silent'), [slot])
  pump.wait(slot as number)
  t.same(await events.next('failed'), [slot, 'ETIMEDOUT'])
})

t.test('says that an endpoint has not answered, and when it does', async (t) => {
  const { events, pump, host, port } = startPump(t)
  const taken: Socket[] = []
  const server = await startServer(t, host, (socket) => taken.push(socket))
  const client = connect(port, host)
  t.teardown(() => client.destroy())
  const [slot] = await events.next('accepted')
  pump.connect(slot as number, { ...target(server), firstByteMs: 50 })
  await events.next('connected')
  client.write('hello')
  t.same(await events.next('mute'), [slot])
  taken[0]?.write('at last')
  t.same(await events.next('spoke'), [slot])
  t.equal(String((await once(client, 'data'))[0]), 'at last')
  pump.reset(slot as number)
  client.on('error', () => undefined)
  t.same(await events.next('closed'), [slot, 'reset', 5, 7])
})

t.test('gives a client back that an endpoint did not want', async (t) => {
  const { events, pump, host, port } = startPump(t)
  // Only once the pump has seen the connect: a reset that comes first is a failed connect.
  const taken: Socket[] = []
  const rude = await startServer(t, host, (socket) => taken.push(socket))
  const client = connect(port, host)
  const [slot] = await events.next('accepted')
  pump.connect(slot as number, target(rude))
  await events.next('connected')
  while (taken.length === 0) await new Promise((resolve) => setImmediate(resolve))
  taken[0]?.resetAndDestroy()
  t.same(await events.next('returned'), [slot])
  const failed = once(client, 'error')
  pump.reset(slot as number)
  t.match(await failed.catch((error: unknown) => [error]), [{ code: 'ECONNRESET' }])
  t.same(await events.next('closed'), [slot, 'reset', 0, 0])
})

t.test('closes what it has, and no event comes after that', async (t) => {
  const { events, pump, listener, host, port } = startPump(t)
  const silent = await startServer(t, host, () => undefined)
  const client = connect(port, host)
  const [slot] = await events.next('accepted')
  pump.connect(slot as number, target(silent))
  await events.next('connected')
  pump.unlisten(listener)
  t.throws(
    () => {
      pump.unlisten(listener)
    },
    { code: 'EBADF' },
  )
  const late = connect(port, host)
  t.match(await once(late, 'error'), [{ code: 'ECONNREFUSED' }])
  const failed = once(client, 'error')
  pump.close()
  pump.close()
  pump.reset(slot as number)
  pump.unlisten(listener)
  t.match(await failed, [{ code: 'ECONNRESET' }])
  t.equal(pump.counters().pipes, 0)
})

t.test('refuses what is no socket, and what is no pump', async (t) => {
  const { pump } = startPump(t)
  t.throws(() => pump.listen(999_999, 'IPv4', { backlog: 1, redirected: false }), {
    code: 'ERR_KERNEL',
    errnoName: 'EBADF',
  })
})
