/** Datagrams that nobody takes: the client is told, and what it sends next goes to another endpoint. */
import t from 'tap'

import { IpProtocol, PacketWord } from '../../../src/packet/packet-word.js'
import { endpoint, portState, servicePort } from '../../fixtures/endpoint.js'
import { packedPort } from '../../fixtures/packed-port.js'
import { datagramRecord, icmpErrorRecord, type PacketRecord } from '../../fixtures/packet-record.js'
import { ANSWERS, type BenchOptions, SteeringBench } from '../../fixtures/steering-bench.js'

const queue = ANSWERS
const ENTRY = '4 10.0.0.5:40000 10.96.0.10:80 17'

function benchWith(endpoints = 3, options: BenchOptions = {}): SteeringBench {
  const bench = new SteeringBench(options)
  const all = Array.from({ length: endpoints }, (_, i) => endpoint(`10.1.0.${i + 1}`))
  bench.vips.set(packedPort(portState(servicePort({ protocol: 'UDP' }), all)))
  return bench
}

/** As it is in the queue: the client's own address is back, the endpoint's still there. */
function refusal(
  pod: number,
  { icmpType = (3 << 8) | 3, from = '10.0.0.5:40000' } = {},
): PacketRecord {
  const inner = { protocol: IpProtocol.udp, from, to: `10.1.0.${pod}:80` }
  const error = icmpErrorRecord(inner, { queue, from: `10.1.0.${pod}:0` })
  error.records[error.base + PacketWord.icmpType] = icmpType
  return error
}

t.test('the next datagram goes to another endpoint, the refusal to the client', async (t) => {
  const bench = benchWith()
  t.equal(bench.decide(datagramRecord()), 'slot 1')
  t.equal(bench.decide(refusal(1)), 'accept')
  t.strictSame(bench.deleted, [ENTRY])
  t.equal(bench.counters.failures[1], 1)
  t.equal(bench.decide(datagramRecord()), 'slot 2')
  t.equal(bench.decide(datagramRecord()), 'slot 2', 'one that waited with it')
  t.equal(bench.decide(datagramRecord({ from: '10.0.0.6:40000' })), 'slot 3', 'another client')
  t.equal(bench.decide(datagramRecord({ from: '10.0.0.7:40000' })), 'slot 2', '1 is passed over')
  t.match(bench.totals(), { refusals: 1, retries: undefined })
})

t.test('a second error about the same datagram counts no more', async (t) => {
  const bench = benchWith()
  bench.decide(datagramRecord())
  bench.decide(refusal(1))
  t.equal(bench.decide(refusal(1)), 'accept')
  t.strictSame(bench.deleted, [ENTRY])
  bench.decide(datagramRecord())
  t.equal(bench.decide(refusal(1)), 'accept', 'one that comes late: the flow is elsewhere')
  t.strictSame([bench.deleted.length, bench.counters.failures[2]], [1, 0])
})

t.test('when all refuse, the client goes round', async (t) => {
  const bench = benchWith(2)
  const slots: string[] = []
  for (let i = 0; i < 4; i++) {
    const verdict = bench.decide(datagramRecord())
    slots.push(verdict)
    t.equal(bench.decide(refusal(Number(verdict.slice(5)))), 'accept')
  }
  t.strictSame(slots.slice(0, 2), ['slot 1', 'slot 2'])
  t.ok(
    slots.every((slot) => slot.startsWith('slot')),
    'never without an endpoint',
  )
  t.equal(bench.totals().refusals, 4)
})

t.test('long after a refusal the flow is a new one', async (t) => {
  const bench = benchWith(2)
  bench.decide(datagramRecord())
  bench.decide(refusal(1))
  bench.decide(datagramRecord())
  bench.decide(refusal(2))
  await bench.clock.advance(60_000)
  t.match(bench.decide(datagramRecord()), /^slot/)
})

t.test('an endpoint on trial that refuses again stays out', async (t) => {
  const bench = benchWith(2)
  bench.decide(datagramRecord())
  bench.decide(refusal(1))
  let client = ''
  for (let port = 1; client === '' && port < 20; port++) {
    // One connection in a second or two may try it.
    await bench.clock.advance(2000)
    const from = `10.0.0.8:${port}`
    if (bench.decide(datagramRecord({ from })) === 'slot 1') client = from
  }
  t.not(client, '', 'it is tried')
  t.equal(bench.decide(refusal(1, { from: client })), 'accept')
  await bench.clock.advance(3100)
  bench.steering.tick(bench.clock.nowMs())
  const one = bench.vips.endpointOf(1)!
  t.equal(bench.picker.isFailing(one.servicePortId, one), true)
})

t.test('what refuses nothing changes nothing', async (t) => {
  const bench = benchWith()
  bench.decide(datagramRecord())
  const others: Readonly<Record<string, PacketRecord>> = {
    'fragmentation needed': refusal(1, { icmpType: (3 << 8) | 4 }),
    'time exceeded': refusal(1, { icmpType: 11 << 8 }),
    'about another client': refusal(1, { from: '10.0.0.6:40000' }),
    'about another endpoint': refusal(2),
  }
  for (const [name, packet] of Object.entries(others)) t.equal(bench.decide(packet), 'accept', name)
  t.strictSame(bench.deleted, [])
  t.strictSame(bench.totals(), { steered: 1 })
})

t.test('IPv6: unreachable counts, packet too big does not', async (t) => {
  const bench = new SteeringBench()
  const port = servicePort({ protocol: 'UDP', ipFamily: 'IPv6', clusterIp: 'fd00:96::10' })
  const endpoints = [1, 2].map((last) => endpoint(`fd00:1::${last}`))
  bench.vips.set(packedPort(portState(port, endpoints)))
  const packet = { from: '[fd00::5]:40000', to: '[fd00:96::10]:80' }
  t.equal(bench.decide(datagramRecord(packet)), 'slot 1')
  const inner = { protocol: IpProtocol.udp, from: packet.from, to: '[fd00:1::1]:80' }
  const outer = { queue, from: '[fd00:1::1]:0', to: '[fd00::5]:0' }
  for (const [icmpType, deleted] of [
    [2 << 8, 0],
    [(1 << 8) | 4, 1],
  ] as const) {
    const error = icmpErrorRecord(inner, outer)
    error.records[error.base + PacketWord.icmpType] = icmpType
    t.equal(bench.decide(error), 'accept')
    t.equal(bench.deleted.length, deleted)
  }
  t.equal(bench.decide(datagramRecord(packet)), 'slot 2')
})
