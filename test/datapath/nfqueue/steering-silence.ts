/** Endpoints that have answered connects, and leave one unanswered for longer than they usually take. */
import t from 'tap'

import { ConntrackType } from '../../../src/packet/conntrack-word.js'
import { TcpState } from '../../../src/packet/tcp-state.js'
import { conntrackRecord } from '../../fixtures/conntrack-record.js'
import { endpoint, portState, servicePort } from '../../fixtures/endpoint.js'
import { packedPort } from '../../fixtures/packed-port.js'
import { synBytes, synRecord } from '../../fixtures/packet-record.js'
import { type BenchOptions, SteeringBench } from '../../fixtures/steering-bench.js'

const [one, two] = [endpoint('10.1.0.1'), endpoint('10.1.0.2')]

function benchWith(endpoints = [one, two], options: BenchOptions = {}): SteeringBench {
  const bench = new SteeringBench(options)
  bench.vips.set(packedPort(portState(servicePort(), endpoints)))
  return bench
}

const connect = (bench: SteeringBench, client: number): string =>
  bench.decide(synRecord({ from: `10.0.0.5:${client}` }))

/** The SYN of the client from that port has been answered by the endpoint in the slot. */
function answer(bench: SteeringBench, client: number, slot: number): void {
  const state = TcpState.synReceived
  const record = conntrackRecord({ type: ConntrackType.update, state, client, slot })
  bench.steering.answered(record, 0, bench.clock)
}

const retryOverdue = (bench: SteeringBench) => {
  bench.steering.retryOverdue(bench.clock.nowMs())
}

/** Both endpoints have answered a connect within that time. */
async function known(tookMs = 1, options: BenchOptions = {}): Promise<SteeringBench> {
  const bench = benchWith([one, two], options)
  const slots = [1, 2].map((client) => connect(bench, client))
  if (slots.join() !== 'slot 1,slot 2') throw new Error(slots.join())
  await bench.clock.advance(tookMs)
  for (const client of [1, 2]) answer(bench, client, client)
  return bench
}

t.test('a silent endpoint is passed over, and its SYN goes to another one', async (t) => {
  const bench = await known()
  t.equal(connect(bench, 3), 'slot 1')
  t.equal(bench.steering.unanswered, 1)
  await bench.clock.advance(299)
  retryOverdue(bench)
  t.same(bench.sent, [])
  await bench.clock.advance(1)
  retryOverdue(bench)
  t.same(bench.deleted, ['4 10.0.0.5:3 10.96.0.10:80 6'])
  t.same(bench.sent, [synBytes(1000)])
  t.equal(connect(bench, 3), 'slot 2', 'the SYN that was sent again')
  t.match(bench.totals(), { overdueSyns: 1, retries: 1 })
  t.equal(bench.counters.failures[1], 1)
  t.same(
    [4, 5].map((client) => connect(bench, client)),
    ['slot 2', 'slot 2'],
  )
})

t.test('connections that were on their way to it go on too', async (t) => {
  const bench = await known()
  const slots = [3, 4, 5, 6].map((client) => connect(bench, client))
  t.same(slots, ['slot 1', 'slot 2', 'slot 1', 'slot 2'])
  for (const client of [4, 6]) answer(bench, client, 2)
  await bench.clock.advance(300)
  retryOverdue(bench)
  t.equal(bench.sent.length, 2)
  t.equal(bench.steering.unanswered, 2, 'their second endpoints are watched')
})

t.test('an answer in time is enough, whenever it is looked at', async (t) => {
  const bench = await known()
  connect(bench, 3)
  await bench.clock.advance(200)
  answer(bench, 3, 2)
  answer(bench, 3, 1)
  await bench.clock.advance(10_000)
  retryOverdue(bench)
  t.same(bench.sent, [])
  t.equal(bench.steering.unanswered, 0)
})

t.test('an answer of another endpoint is none', async (t) => {
  const bench = await known()
  connect(bench, 3)
  answer(bench, 3, 2)
  await bench.clock.advance(300)
  retryOverdue(bench)
  t.equal(bench.sent.length, 1)
})

t.test(
  'nothing is known of an endpoint that never answered, is slow, or is on trial',
  async (t) => {
    const fresh = benchWith()
    connect(fresh, 1)
    t.equal(fresh.steering.unanswered, 0)

    const slow = await known(200)
    connect(slow, 3)
    await slow.clock.advance(799)
    retryOverdue(slow)
    t.same(slow.sent, [])
    await slow.clock.advance(1)
    retryOverdue(slow)
    t.equal(slow.sent.length, 1)

    const failing = await known()
    connect(failing, 3)
    await failing.clock.advance(300)
    retryOverdue(failing)
    connect(failing, 3)
    answer(failing, 3, 2)
    await failing.clock.advance(1000)
    t.equal(connect(failing, 4), 'slot 1', 'a trial')
    await failing.clock.advance(900)
    retryOverdue(failing)
    t.equal(failing.sent.length, 1, 'gets all the time that there is')
    answer(failing, 4, 1)
    t.notOk(
      failing.picker.isFailing(servicePort().id, one),
      'and its answer brings it back at once',
    )
  },
)

t.test(
  'where there is no other endpoint, or no raw socket, the client repeats its SYN',
  async (t) => {
    const alone = benchWith([one])
    connect(alone, 1)
    answer(alone, 1, 1)
    connect(alone, 2)
    await alone.clock.advance(300)
    retryOverdue(alone)
    t.same([alone.sent, alone.deleted], [[], []])
    t.match(alone.totals(), { overdueSyns: 1 })
    t.notOk('exhausted' in alone.totals())

    const deaf = await known(1, { canSendAgain: false })
    connect(deaf, 3)
    await deaf.clock.advance(300)
    retryOverdue(deaf)
    t.same([deaf.sent, deaf.deleted], [[], []])
    t.equal(connect(deaf, 4), 'slot 2')
    t.equal(connect(deaf, 5), 'slot 2', 'others are spared')
  },
)

t.test('lost events: nobody is suspected', async (t) => {
  const bench = await known()
  connect(bench, 3)
  bench.steering.forgetUnanswered()
  await bench.clock.advance(1000)
  retryOverdue(bench)
  t.same(bench.sent, [])
})
