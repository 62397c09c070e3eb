import t from 'tap'
import {
  ConnectionLog,
  connectionLogOf,
  type ConnectionLine,
} from '../../src/observe/connection-log.js'
import { FakeClock } from '../fixtures/fake-clock.js'

const place = () => ({ client: '10.0.0.5:40000', vip: '10.96.0.10:80' })
const end = { endpoint: '10.244.1.2:8080', attempts: 2 }

function setUp(config: { samplePercent?: number; perSecond?: number } = {}, draws = [0]) {
  const lines: ConnectionLine[] = []
  const clock = new FakeClock()
  const log = new ConnectionLog({
    services: ['demo/echo'],
    samplePercent: config.samplePercent ?? 100,
    perSecond: config.perSecond ?? 100,
    clock,
    random: () => draws.shift() ?? 0,
    write: (line) => lines.push(line),
  })
  return { lines, clock, log }
}

t.test('one line a connection, when it has ended', async (t) => {
  const { lines, clock, log } = setUp()
  const record = log.begin('demo/echo:http/TCP/IPv4', place)
  t.same(lines, [])
  await clock.advance(1234)
  record?.end('closed', { ...end, bytesToClient: 7 })
  record?.end('reset', end)
  t.strictSame(lines, [
    {
      servicePort: 'demo/echo:http/TCP/IPv4',
      ...place(),
      ...end,
      bytesToClient: 7,
      outcome: 'closed',
      durationMs: 1234,
    },
  ])
})

t.test('of the Services that are named, and no other whose name begins so', async (t) => {
  const { log } = setUp()
  t.ok(log.isOf('demo/echo/UDP/IPv6'))
  t.notOk(log.isOf('demo/echo-2:http/TCP/IPv4'))
  t.notOk(log.isOf('other/echo/TCP/IPv4'))
  const parts = { clock: new FakeClock(), random: () => 0, write: () => undefined }
  t.equal(connectionLogOf({ services: [], samplePercent: 100, perSecond: 1 }, parts), undefined)
})

t.test('a sample is drawn when they begin', async (t) => {
  const { log } = setUp({ samplePercent: 10 }, [0.05, 0.1, 0.95, 0.0999])
  const begun = [1, 2, 3, 4].map(() => log.begin('demo/echo/TCP/IPv4', place) !== undefined)
  t.same(begun, [true, false, false, true])
  t.equal(log.dropped, 0, 'what is not in the sample is not dropped')
})

t.test('lines a second are bounded, and those above it counted', async (t) => {
  const { lines, clock, log } = setUp({ perSecond: 5 })
  const burst = (): void => {
    for (let i = 0; i < 20; i++) log.begin('demo/echo/TCP/IPv4', place)?.end('closed', end)
  }
  burst()
  t.equal(lines.length, 5)
  t.equal(log.dropped, 15)
  await clock.advance(1000)
  burst()
  t.equal(lines.length, 10)
})
