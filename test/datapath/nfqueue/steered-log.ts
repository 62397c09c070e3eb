import t from 'tap'
import { SteeredLog } from '../../../src/datapath/nfqueue/steered-log.js'
import { ConnectionLog, type ConnectionLine } from '../../../src/observe/connection-log.js'
import { addressWords } from '../../../src/packet/address-words.js'
import {
  ConntrackStatus,
  ConntrackType,
  ConntrackWord,
} from '../../../src/packet/conntrack-word.js'
import { DEFAULT_MARK_MASK, markLayoutOf } from '../../../src/packet/mark-layout.js'
import { IpProtocol } from '../../../src/packet/packet-word.js'
import { TcpState } from '../../../src/packet/tcp-state.js'
import { conntrackRecord, type EntryFields } from '../../fixtures/conntrack-record.js'
import { FakeClock } from '../../fixtures/fake-clock.js'

function setUp() {
  const lines: ConnectionLine[] = []
  const log = new ConnectionLog({
    ...{ services: ['demo/echo'], samplePercent: 100, perSecond: 1e6 },
    ...{ clock: new FakeClock(), random: () => 0, write: (line) => lines.push(line) },
  })
  const steered = new SteeredLog(log, markLayoutOf(DEFAULT_MARK_MASK))
  const event = (fields: EntryFields, hasReply = true): void => {
    const record = conntrackRecord(fields)
    record[ConntrackWord.status] = hasReply ? ConntrackStatus.seenReply : 0
    steered.event(record, 0)
  }
  return { lines, steered, event }
}

/** 10.0.0.5:client to 10.96.0.10:80, as a FlowTable has it. */
function tuple(client: number, protocol: number = IpProtocol.tcp): Uint32Array {
  const words = new Uint32Array(10)
  words.set(addressWords('10.0.0.5'), 0)
  words.set(addressWords('10.96.0.10'), 4)
  words[8] = (client << 16) | 80
  words[9] = protocol
  return words
}

const verdict = (slot: number, endpoint: string | undefined = `10.244.0.${slot}:80`) => ({
  ...{ servicePortId: 'demo/echo:http/TCP/IPv4', family: 4, endpoint, slot, isDropped: false },
})
const outcomes = (lines: readonly ConnectionLine[]) => lines.map(({ outcome }) => outcome)

t.test('from the verdict to the event that ends it', async (t) => {
  const { lines, steered, event } = setUp()
  steered.first(tuple(50_000), verdict(3))
  event({ type: ConntrackType.new, client: 50_000 })
  event({ type: ConntrackType.update, client: 50_000, state: TcpState.established })
  event({ type: ConntrackType.update, client: 50_001, state: TcpState.timeWait })
  t.same(lines, [])
  event({ type: ConntrackType.update, client: 50_000, state: TcpState.timeWait })
  event({ type: ConntrackType.destroy, client: 50_000, state: TcpState.timeWait })
  t.match(lines, [
    {
      ...{ client: '10.0.0.5:50000', vip: '10.96.0.10:80', endpoint: '10.244.0.3:80' },
      ...{ attempts: 1, outcome: 'closed' },
    },
  ])
  t.equal(lines.length, 1)
})

t.test('each end has its name', async (t) => {
  const { lines, steered, event } = setUp()
  const { udp } = IpProtocol
  const { update, destroy } = ConntrackType
  for (const [client, protocol] of [
    [1, IpProtocol.tcp],
    [2, IpProtocol.tcp],
    [3, IpProtocol.tcp],
    [4, udp],
    [5, udp],
    [6, IpProtocol.tcp],
  ] as const) {
    steered.first(tuple(client, protocol), verdict(3))
  }
  event({ type: update, client: 1, state: TcpState.close })
  event({ type: destroy, client: 2, state: TcpState.synSent }, false)
  event({ type: destroy, client: 3, state: TcpState.established })
  event({ type: destroy, client: 4, protocol: udp })
  event({ type: destroy, client: 5, protocol: udp }, false)
  steered.exhausted(tuple(6))
  steered.first(tuple(7), { ...verdict(0), endpoint: undefined })
  steered.first(tuple(8), { ...verdict(0), endpoint: undefined, isDropped: true })
  t.same(outcomes(lines), [
    ...['reset', 'unanswered', 'timed-out', 'answered', 'unanswered', 'no-endpoint'],
    ...['rejected', 'dropped'],
  ])
})

t.test('a retry is an attempt; the entry that it deletes ends nothing', async (t) => {
  const { lines, steered, event } = setUp()
  steered.first(tuple(9), verdict(3))
  steered.again(tuple(9), '10.244.0.4:80', 4)
  event({ type: ConntrackType.destroy, client: 9, slot: 3, state: TcpState.synSent }, false)
  t.same(lines, [])
  event({ type: ConntrackType.update, client: 9, slot: 4, state: TcpState.timeWait })
  t.match(lines, [{ endpoint: '10.244.0.4:80', attempts: 2, outcome: 'closed' }])
})

t.test('not more are followed than the bound', async (t) => {
  const { steered } = setUp()
  for (let i = 0; i < 16_390; i++) steered.first(tuple(i), verdict(3))
  t.equal(steered.dropped, 6)
})
