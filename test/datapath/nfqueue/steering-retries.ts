/** What becomes of connects that nobody answers, or that somebody refuses. */
import t from 'tap'

import type { ServicePort } from '../../../src/model/service-port.js'
import { IpProtocol, PacketFlag, TcpFlag } from '../../../src/packet/packet-word.js'
import { endpoint, portState, servicePort } from '../../fixtures/endpoint.js'
import { packedPort } from '../../fixtures/packed-port.js'
import {
  datagramRecord,
  icmpErrorRecord,
  type PacketRecord,
  rstRecord,
  synBytes,
  synRecord,
} from '../../fixtures/packet-record.js'
import { ANSWERS, type BenchOptions, SteeringBench } from '../../fixtures/steering-bench.js'

const [one, two, three, four] = [1, 2, 3, 4].map((last) => endpoint(`10.1.0.${last}`))
const queue = ANSWERS
const repeat = (sequence = 1000): PacketRecord => synRecord({ queue, sequence })
const rst = (fields = {}): PacketRecord => rstRecord({ queue, ...fields })
const ENTRY = '4 10.0.0.5:40000 10.96.0.10:80 6'

function benchWith(
  endpoints = [one!, two!, three!],
  options: BenchOptions = {},
  fields: Partial<ServicePort> = {},
): SteeringBench {
  const bench = new SteeringBench(options)
  bench.vips.set(packedPort(portState(servicePort(fields), endpoints)))
  return bench
}

/** What was asked of the kernel since the last time. */
function asked(bench: SteeringBench): { deleted: string[]; sent: Uint8Array[] } {
  return { deleted: bench.deleted.splice(0), sent: bench.sent.splice(0) }
}

const NOTHING = { deleted: [], sent: [] }
const AGAIN = { deleted: [ENTRY], sent: [synBytes(1000)] }

t.test('an unanswered SYN that comes again goes to another endpoint', async (t) => {
  const bench = benchWith()
  t.equal(bench.decide(synRecord()), 'slot 1')
  await bench.clock.advance(299)
  t.equal(bench.decide(repeat()), 'accept', 'sooner it was on the way already')
  t.strictSame(asked(bench), NOTHING)
  t.equal(bench.counters.failures[1], 0)
  await bench.clock.advance(1)
  t.equal(bench.decide(repeat()), 'drop', 'this copy belongs to the old entry')
  t.strictSame(asked(bench), AGAIN)
  t.equal(bench.decide(synRecord()), 'slot 2', 'the one that was sent again')
  const { failures, retries, exhausted } = bench.counters
  t.strictSame([failures[1], retries[1], exhausted[1], failures[2]], [1, 1, 0, 0])
  t.strictSame(bench.totals(), { steered: 2, repeatedVerdicts: 1, unansweredSyns: 1, retries: 1 })
})

t.test('new connections pass over an endpoint that did not answer', async (t) => {
  const bench = benchWith()
  bench.decide(synRecord())
  await bench.clock.advance(1000)
  bench.decide(repeat())
  const slots = [1, 2, 3, 4].map((port) => bench.decide(synRecord({ from: `10.0.0.6:${port}` })))
  t.notOk(slots.includes('slot 1'), slots.join())
})

t.test('each endpoint gets its time to answer, and none is tried twice', async (t) => {
  const bench = benchWith([one!, two!, three!, four!], { attempts: 3 })
  t.equal(bench.decide(synRecord()), 'slot 1')
  await bench.clock.advance(1000)
  t.equal(bench.decide(repeat()), 'drop')
  t.equal(bench.decide(repeat()), 'accept', 'the next one has had no time yet')
  await bench.clock.advance(2000)
  t.equal(bench.decide(repeat()), 'drop')
  t.strictSame(bench.flows.slotsOf(0), [1, 2, 3])
  await bench.clock.advance(4000)
  asked(bench)
  t.equal(bench.decide(repeat()), 'accept', 'attempts are used up: the SYN goes where it went')
  t.strictSame(asked(bench), NOTHING)
  const { failures, exhausted } = bench.counters
  t.strictSame([...failures.subarray(1, 5)], [1, 1, 1, 0])
  t.strictSame([...exhausted.subarray(1, 5)], [0, 0, 1, 0])
  t.match(bench.totals(), { unansweredSyns: 3, retries: 2, exhausted: 1 })
})

t.test('a SYN of before our time is retried, but nobody is blamed', async (t) => {
  const bench = benchWith([one!, two!])
  t.equal(bench.decide(repeat()), 'drop')
  t.strictSame(asked(bench), AGAIN)
  t.equal(bench.decide(synRecord()), 'slot 1')
  t.strictSame([...bench.counters.failures.subarray(0, 3)], [0, 0, 0])
  t.match(bench.totals(), { unansweredSyns: 1, retries: 1 })
})

t.test('a client that gives up and begins anew from the same port starts over', async (t) => {
  const bench = benchWith()
  t.equal(bench.decide(synRecord()), 'slot 1')
  await bench.clock.advance(1000)
  t.equal(bench.decide(repeat(2000)), 'drop')
  t.strictSame(asked(bench), { deleted: [ENTRY], sent: [synBytes(2000)] })
  t.equal(bench.counters.failures[1], 1)
  t.equal(bench.decide(synRecord({ sequence: 2000 })), 'slot 2', 'the verdict is there already')
  t.equal(bench.decide(rst({ acknowledged: 2001 })), 'drop', 'its refusal is known for what it is')
  t.strictSame(asked(bench).sent, [synBytes(2000)])
})

t.test('what else comes up in the queue of answers passes', async (t) => {
  const bench = benchWith()
  bench.decide(synRecord())
  await bench.clock.advance(1000)
  const others: Readonly<Record<string, PacketRecord>> = {
    'a SYN to nothing of ours': synRecord({ queue, to: '10.96.0.11:80' }),
    'a SYN ACK': synRecord({ queue, tcpFlags: TcpFlag.syn | TcpFlag.ack }),
    'an ACK': synRecord({ queue, tcpFlags: TcpFlag.ack }),
    'a datagram': datagramRecord({ queue }),
    'a RST of a connection that we do not know': rst({ to: '10.0.0.5:40001' }),
    'a RST to another client': rst({ to: '10.0.0.6:40000' }),
    'a RST that acknowledges more than the SYN': rst({ acknowledged: 1002 }),
    'a RST that acknowledges nothing': rst({ acknowledged: 0, tcpFlags: TcpFlag.rst }),
    'an ICMP error about a later segment': icmpErrorRecord({ sequence: 1001 }, { queue }),
    'an ICMP error about another client': icmpErrorRecord({ from: '10.0.0.6:40000' }, { queue }),
    'an ICMP error about a datagram that we do not know': icmpErrorRecord(
      { protocol: IpProtocol.udp },
      { queue },
    ),
  }
  for (const [name, packet] of Object.entries(others)) {
    t.equal(bench.decide(packet), 'accept', name)
    t.strictSame(asked(bench), NOTHING, name)
  }
  t.strictSame(bench.totals(), { steered: 1 })
})

for (const [name, refusal] of Object.entries({
  'a RST': () => rst(),
  'a RST without ACK flag that acknowledges the SYN all the same': () =>
    rst({ tcpFlags: TcpFlag.rst }),
  'an ICMP error': () => icmpErrorRecord({}, { queue }),
})) {
  t.test(`${name} is held back, and another endpoint tried at once`, async (t) => {
    const bench = benchWith()
    bench.decide(synRecord())
    t.equal(bench.decide(refusal()), 'drop')
    t.strictSame(asked(bench), AGAIN)
    t.equal(bench.decide(synRecord()), 'slot 2')
    const { failures, retries } = bench.counters
    t.strictSame([failures[1], retries[1]], [1, 1])
    t.match(bench.totals(), { refusals: 1, retries: 1, exhausted: undefined })
  })
}

t.test('a RST to a SYN whose sequence number is the last there is', async (t) => {
  const bench = benchWith()
  bench.decide(synRecord({ sequence: 0xffffffff }))
  t.equal(bench.decide(rst({ acknowledged: 0 })), 'drop')
})

t.test('IPv6: a RST and an ICMP error alike', async (t) => {
  const fields = { from: '[fd00::5]:40000', to: '[fd00:96::10]:80' }
  const bench = new SteeringBench()
  const port = servicePort({ ipFamily: 'IPv6', clusterIp: 'fd00:96::10' })
  const endpoints = [1, 2, 3].map((last) => endpoint(`fd00:1::${last}`))
  bench.vips.set(packedPort(portState(port, endpoints)))
  t.equal(bench.decide(synRecord(fields)), 'slot 1')
  t.equal(bench.decide(rst({ from: fields.to, to: fields.from })), 'drop')
  t.equal(bench.decide(synRecord(fields)), 'slot 2')
  const error = icmpErrorRecord(fields, { queue, from: '[fd00:1::fe]:0', to: '[fd00::5]:0' })
  t.equal(bench.decide(error), 'drop')
  t.equal(bench.decide(synRecord(fields)), 'slot 3')
  const entry = '6 fd00::5:40000 fd00:96::10:80 6'
  t.strictSame(asked(bench).deleted, [entry, entry])
})

t.test('when all refuse, the last refusal is for the client', async (t) => {
  const cases = [
    { name: 'no endpoint left', endpoints: [one!, two!], attempts: 10, tries: 2 },
    { name: 'no attempt left', endpoints: [one!, two!, three!, four!], attempts: 3, tries: 3 },
    { name: 'one attempt is no retry', endpoints: [one!, two!], attempts: 1, tries: 1 },
  ]
  for (const { name, endpoints, attempts, tries } of cases) {
    const bench = benchWith(endpoints, { attempts })
    bench.decide(synRecord())
    for (let i = 1; i < tries; i++) {
      t.equal(bench.decide(rst()), 'drop', name)
      t.equal(bench.decide(synRecord()), `slot ${i + 1}`, name)
    }
    asked(bench)
    t.equal(bench.decide(rst()), 'accept', name)
    t.strictSame(asked(bench), NOTHING, name)
    t.equal(bench.counters.exhausted[tries], 1, name)
    t.match(bench.totals(), { refusals: tries, exhausted: 1 }, name)
  }
})

t.test('where a SYN cannot be sent again a refusal passes, and is counted', async (t) => {
  const bench = benchWith(undefined, { canSendAgain: false })
  bench.decide(synRecord())
  t.equal(bench.decide(rst()), 'accept')
  t.strictSame(asked(bench), NOTHING)
  t.equal(bench.counters.failures[1], 1)
  t.match(bench.totals(), { refusals: 1, retries: undefined })
})

t.test('where a SYN cannot be sent again its client does it, without the old entry', async (t) => {
  const bench = benchWith(undefined, { canSendAgain: false })
  bench.decide(synRecord())
  await bench.clock.advance(1000)
  t.equal(bench.decide(repeat()), 'drop')
  t.strictSame(asked(bench), { deleted: [ENTRY], sent: [] })
  await bench.clock.advance(2000)
  t.equal(bench.decide(synRecord()), 'slot 2')
  t.match(bench.totals(), { unansweredSyns: 1, retries: 1 })
})

t.test('a SYN of which there is no copy is not retried', async (t) => {
  const copies = {
    'the copy ends before the packet does': { flags: PacketFlag.isTruncated },
    'longer than what is kept': { copy: new Uint8Array(257) },
  }
  for (const [name, fields] of Object.entries(copies)) {
    const bench = benchWith()
    bench.decide(synRecord(fields))
    t.equal(bench.decide(rst()), 'accept', name)
    t.strictSame(asked(bench), NOTHING, name)
    t.match(bench.totals(), { refusals: 1, exhausted: 1 }, name)
  }
})

t.test('a SYN that asks for ECN is a SYN', async (t) => {
  const bench = benchWith()
  const tcpFlags = TcpFlag.syn | 0x40 | 0x80
  bench.decide(synRecord({ tcpFlags }))
  t.equal(bench.decide(rst()), 'drop')
  t.strictSame(asked(bench), AGAIN)
})

t.test('the Service has changed between the SYN and its refusal', async (t) => {
  const removed = benchWith()
  removed.decide(synRecord())
  removed.vips.set(packedPort(portState(servicePort(), [two!, three!])))
  t.equal(removed.decide(rst()), 'drop', 'the endpoint has gone: another one')
  t.equal(removed.decide(synRecord()), 'slot 2')

  const empty = benchWith()
  empty.decide(synRecord())
  empty.vips.set(packedPort(portState(servicePort(), [])))
  t.equal(empty.decide(rst()), 'accept', 'all have gone: the refusal is right')
  t.strictSame(asked(empty), NOTHING)

  const gone = benchWith()
  gone.decide(synRecord())
  gone.vips.remove(servicePort().id)
  t.equal(gone.decide(rst()), 'accept', 'the Service has gone')
  await gone.clock.advance(1000)
  t.equal(gone.decide(repeat()), 'accept')
  t.strictSame(asked(gone), NOTHING)
})

t.test('the endpoint of a retry has gone before its SYN came', async (t) => {
  const bench = benchWith()
  bench.decide(synRecord())
  t.equal(bench.decide(rst()), 'drop')
  bench.vips.set(packedPort(portState(servicePort(), [one!, three!])))
  t.equal(bench.decide(synRecord()), 'slot 3')
})

t.test('a retry is masqueraded as its own endpoint and VIP ask for', async (t) => {
  const bench = benchWith([one!, two!], {}, { externalIps: ['192.0.2.1'] })
  const to = '192.0.2.1:80'
  t.equal(bench.decide(synRecord({ to })), 'slot 1 masqueraded')
  t.equal(bench.decide(rst({ from: to })), 'drop')
  t.equal(bench.decide(synRecord({ to })), 'slot 2 masqueraded')
  const hairpin = benchWith([one!, two!])
  const from = '10.1.0.2:40000'
  t.equal(hairpin.decide(synRecord({ from })), 'slot 1')
  t.equal(hairpin.decide(rst({ to: from })), 'drop')
  t.equal(hairpin.decide(synRecord({ from })), 'slot 2 masqueraded')
})

t.test('affinity: a client whose endpoint failed belongs to the next one', async (t) => {
  const bench = benchWith(undefined, {}, { affinityTimeoutSeconds: 100 })
  t.equal(bench.decide(synRecord()), 'slot 1')
  t.equal(bench.decide(rst()), 'drop')
  t.equal(bench.decide(synRecord()), 'slot 2')
  t.equal(bench.decide(synRecord({ from: '10.0.0.5:40001' })), 'slot 2')
})

/** Endpoint 1 of two has failed, its time is over, and the next connection tries it. */
async function onTrial(): Promise<SteeringBench> {
  const bench = benchWith([one!, two!])
  bench.decide(synRecord({ from: '10.0.0.6:1' }))
  bench.decide(rst({ to: '10.0.0.6:1' }))
  await bench.clock.advance(1000)
  if (bench.decide(synRecord()) !== 'slot 1') throw new Error('endpoint 1 is not tried')
  return bench
}

const isFailing = (bench: SteeringBench) => bench.picker.isFailing(servicePort().id, one!)

t.test('a failing endpoint that is tried and does not fail again is forgiven', async (t) => {
  const bench = await onTrial()
  await bench.clock.advance(2999)
  bench.steering.tick(bench.clock.nowMs())
  t.ok(isFailing(bench), 'it has 3 s for that')
  await bench.clock.advance(1)
  bench.steering.tick(bench.clock.nowMs())
  t.notOk(isFailing(bench))
})

t.test('one that fails again is not', async (t) => {
  const bench = await onTrial()
  await bench.clock.advance(1000)
  t.equal(bench.decide(repeat()), 'drop')
  await bench.clock.advance(10_000)
  bench.steering.tick(bench.clock.nowMs())
  t.ok(isFailing(bench))
})

t.test('a trial that is a retry has its 3 s from then on', async (t) => {
  const bench = benchWith([one!, two!])
  bench.decide(synRecord({ from: '10.0.0.6:1' }))
  bench.decide(rst({ to: '10.0.0.6:1' }))
  t.equal(bench.decide(synRecord()), 'slot 2')
  await bench.clock.advance(4000)
  t.equal(bench.decide(repeat()), 'drop')
  t.equal(bench.flows.lastSlot(bench.flows.size - 1), 1)
  await bench.clock.advance(1000)
  bench.steering.tick(bench.clock.nowMs())
  t.ok(isFailing(bench), 'a second is not enough')
  await bench.clock.advance(2000)
  bench.steering.tick(bench.clock.nowMs())
  t.notOk(isFailing(bench))
})
