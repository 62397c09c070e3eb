/** A UDP session on real sockets of the loopback; what the picker knows is told by the test. */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import t, { type Test } from 'tap'

import { UdpSession, type UdpSessionServices } from '../../../src/datapath/userspace/udp-session.js'
import type { Endpoint } from '../../../src/model/endpoint.js'
import type { ServicePortCounts } from '../../../src/observe/traffic.js'
import type { EndpointPicker, NewConnection } from '../../../src/policy/endpoint-picker.js'
import { endpoint } from '../../fixtures/endpoint.js'
import { FakeClock } from '../../fixtures/fake-clock.js'

/** An endpoint that takes datagrams and answers those that `answers` lets it. */
async function server(t: Test, answers: boolean): Promise<{ got: string[]; endpoint: Endpoint }> {
  const socket = createSocket('udp4')
  t.teardown(() => socket.close())
  const got: string[] = []
  socket.on('message', (datagram, { port, address }) => {
    got.push(datagram.toString())
    if (answers) socket.send(`answer to ${datagram.toString()}`, port, address)
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const { port } = socket.address()
  return { got, endpoint: endpoint('127.0.0.1', port) }
}

/** A session that may go to these, in this order; those in `failing` are known to fail. */
function session(endpoints: readonly Endpoint[], failing: ReadonlySet<Endpoint>) {
  const clock = new FakeClock()
  const failures: Endpoint[] = []
  const replies: string[] = []
  const picker = {
    pick: (_: NewConnection, tried: readonly Endpoint[]) => {
      const left = endpoints.find((one) => !tried.includes(one))
      return left === undefined ? { verdict: 'drop' } : { verdict: 'endpoint', endpoint: left }
    },
    isFailing: (_: string, one: Endpoint) => failing.has(one),
    connectFailed: (_: NewConnection, one: Endpoint) => failures.push(one),
    opened: () => undefined,
    connected: () => undefined,
    answered: () => undefined,
    closed: () => undefined,
    latency: () => undefined,
  } as unknown as EndpointPicker
  const connect = ({ ip, port }: Endpoint): Socket => {
    const socket = createSocket('udp4')
    socket.connect(port, ip)
    return socket
  }
  const services: UdpSessionServices = {
    picker,
    clock,
    attempts: 3,
    retryWithinMs: 1000,
    timeoutMs: 30_000,
    streamTimeoutMs: 120_000,
    connect,
  }
  const counts = {
    opened: () => () => undefined,
    endpoint: () => ({ connectFailures: 0 }),
  } as unknown as ServicePortCounts
  const connection = { servicePortId: 'test/dns/UDP/IPv4' } as NewConnection
  const udp = new UdpSession(services, connection, counts, {
    reply: (datagram) => replies.push(datagram.toString()),
    ended: () => undefined,
  })
  return { udp, clock, failures, replies }
}

/** Until it is so, for a few seconds at most. */
async function until(isSo: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !isSo(); i += 1) await new Promise((done) => setTimeout(done, 10))
}

t.test('a repetition to a failing endpoint that is silent goes to another one', async (t) => {
  const dead = await server(t, false)
  const alive = await server(t, true)
  const { udp, clock, failures, replies } = session(
    [dead.endpoint, alive.endpoint],
    new Set([dead.endpoint]),
  )
  t.teardown(() => {
    udp.close()
  })
  udp.send(Buffer.from('query'))
  await until(() => dead.got.length === 1)
  await clock.advance(100)
  udp.send(Buffer.from('second query of a burst'))
  await until(() => dead.got.length === 2)
  t.same(failures, [], 'a burst is no repetition')

  await clock.advance(900)
  udp.send(Buffer.from('query again'))
  await until(() => replies.includes('answer to query again'))
  t.ok(replies.includes('answer to query again'))
  t.same(failures, [dead.endpoint])
  t.equal(udp.endpoint, alive.endpoint)
})

t.test('an endpoint that nothing is known against keeps its silent flow', async (t) => {
  const oneWay = await server(t, false)
  const other = await server(t, true)
  const { udp, clock, failures } = session([oneWay.endpoint, other.endpoint], new Set())
  t.teardown(() => {
    udp.close()
  })
  for (const [index, line] of ['log 1', 'log 2', 'log 3'].entries()) {
    udp.send(Buffer.from(line))
    await until(() => oneWay.got.length === index + 1)
    await clock.advance(2000)
  }
  t.same(oneWay.got, ['log 1', 'log 2', 'log 3'])
  t.same(failures, [])
})

t.test('a failing endpoint that is the only one goes on getting them', async (t) => {
  const only = await server(t, false)
  const { udp, clock } = session([only.endpoint], new Set([only.endpoint]))
  t.teardown(() => {
    udp.close()
  })
  udp.send(Buffer.from('1'))
  await until(() => only.got.length === 1)
  await clock.advance(1000)
  udp.send(Buffer.from('2'))
  await until(() => only.got.length === 2)
  t.same(only.got, ['1', '2'])
})
