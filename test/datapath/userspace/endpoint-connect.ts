/** Endpoints that are silent while a client waits. Real sockets that never connect, on a clock of their own. */
import { Socket } from 'node:net'
import t, { type Test } from 'tap'
import { EndpointConnect } from '../../../src/datapath/userspace/endpoint-connect.js'
import { NetDialer, type Connected } from '../../../src/datapath/userspace/net-dialer.js'
import { systemClock } from '../../../src/lib/clock.js'
import type { Endpoint } from '../../../src/model/endpoint.js'
import type { ServicePortCounts } from '../../../src/observe/traffic.js'
import { AffinityTable } from '../../../src/policy/affinity.js'
import { EndpointPicker, type NewConnection } from '../../../src/policy/endpoint-picker.js'
import { RetryBudget } from '../../../src/policy/retry-budget.js'
import { endpoint, portState, servicePort, snapshotOf } from '../../fixtures/endpoint.js'

const port = servicePort()
const [one, two] = [endpoint('10.1.0.1'), endpoint('10.1.0.2')]
const client: NewConnection = {
  servicePortId: port.id,
  kind: 'cluster-ip',
  source: 'other',
  clientIp: '10.0.0.5',
  clientPort: 40_000,
}
const TIMEOUT_MS = 700

/** `answers`: who takes connections, and after how long; all others are silent. */
function setUp(t: Test, endpoints: readonly Endpoint[], answers: Map<string, number>) {
  const ejected: string[] = []
  const tried: string[] = []
  const picker = new EndpointPicker({
    affinity: new AffinityTable({ maxClients: 10 }),
    clock: systemClock,
    random: () => 0,
    ejection: { baseMs: 60_000, maxMs: 60_000, maxPercent: 50, patienceMs: 100, byDefault: true },
    onEjection: (_id, { ip }, isEjected) => ejected.push(`${ip} ${isEjected}`),
  })
  picker.update(snapshotOf([portState(port, endpoints)]))
  const budget = new RetryBudget({ percent: 100, minConcurrency: 1 })
  const failures = new Map<string, number>()
  const counts = {
    retries: 0,
    endpoint: (id: string) => ({
      get connectFailures() {
        return failures.get(id) ?? 0
      },
      set connectFailures(count: number) {
        failures.set(id, count)
      },
    }),
  } as unknown as ServicePortCounts
  const sockets: Socket[] = []
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
  })
  const connect = () =>
    new Promise<{ result: Connected | undefined; tookMs: number }>((resolve) => {
      const startedMs = performance.now()
      new EndpointConnect(
        {
          picker,
          budget,
          attempts: 3,
          timeoutMs: TIMEOUT_MS,
          openConnections: () => 1,
        },
        client,
        counts,
        new NetDialer({
          clock: systemClock,
          connect: ({ ip }) => {
            const socket = new Socket()
            sockets.push(socket)
            tried.push(ip)
            const delayMs = answers.get(ip)
            if (delayMs !== undefined) setTimeout(() => socket.emit('connect'), delayMs)
            return socket
          },
          done: (result) => {
            resolve({ result, tookMs: performance.now() - startedMs })
          },
        }),
      ).start()
    })
  return { connect, picker, ejected, tried, budget, failures }
}

t.test('one that has answered before and is silent now is left for another one', async (t) => {
  const answers = new Map([
    [one.ip, 1],
    [two.ip, 1],
  ])
  const { connect, ejected, tried, budget, failures } = setUp(t, [one, two], answers)
  await connect()
  await connect()
  answers.delete(one.ip)
  const { result, tookMs } = await connect()
  t.equal(result?.endpoint.ip, two.ip)
  t.ok(tookMs < TIMEOUT_MS, `${tookMs} ms`)
  t.same(tried, [one.ip, two.ip, one.ip, two.ip])
  t.same(ejected, [`${one.ip} true`])
  t.same([...failures.values()], [1])
  t.equal(budget.underWay, 0)
})

t.test('one of which nothing is known has its whole time', async (t) => {
  const { connect, ejected } = setUp(t, [one, two], new Map([[one.ip, 300]]))
  const { result } = await connect()
  t.equal(result?.endpoint.ip, one.ip)
  t.same(ejected, [])
})

t.test('so has one when there is no other, and its late answer is one', async (t) => {
  const answers = new Map([[one.ip, 1]])
  const { connect, ejected, budget, failures } = setUp(t, [one], answers)
  await connect()
  answers.set(one.ip, 300)
  const { result } = await connect()
  t.equal(result?.endpoint.ip, one.ip)
  t.same(ejected, [`${one.ip} true`, `${one.ip} false`])
  answers.delete(one.ip)
  t.equal((await connect()).result, undefined)
  t.same([...failures.values()], [2], 'a try fails once')
  t.equal(budget.underWay, 0)
})
