import t from 'tap'
import { Events, eventSubject, type EventRecord } from '../../src/observe/events.js'
import { FakeClock } from '../fixtures/fake-clock.js'

const ECHO = { kind: 'Service', namespace: 'demo', name: 'echo', uid: 'u1' } as const

function setUp(write?: () => Promise<void>) {
  const clock = new FakeClock()
  const written: EventRecord[] = []
  let unique = 0
  const events = new Events({
    clock,
    wallClock: () => new Date(clock.nowMs()),
    uniqueText: () => String(++unique),
    write: async (record) => {
      await write?.()
      written.push(record)
    },
  })
  return { clock, written, events }
}

t.test('an event is written once, with what was said', async (t) => {
  const { clock, written, events } = setUp()
  events.warn(ECHO, 'FieldIgnored', 'spec.x: bad')
  events.normal({ kind: 'Node', name: 'node-1' }, 'Starting', '', { action: 'StartKubeProxy' })
  await clock.advance(0)
  t.match(written, [
    { type: 'Warning', subject: ECHO, reason: 'FieldIgnored', note: 'spec.x: bad', count: 1 },
    { type: 'Normal', reason: 'Starting', action: 'StartKubeProxy', name: 'node-1.2' },
  ])
  t.equal(events.written, 2)
})

t.test('the same again makes a series, written once a minute at most', async (t) => {
  const { clock, written, events } = setUp()
  for (let i = 0; i < 90; i++) {
    events.warn(ECHO, 'FieldIgnored', 'same')
    await clock.advance(1000)
  }
  t.strictSame(
    written.map(({ count, name }) => [count, name]),
    [
      [1, 'echo.1'],
      [61, 'echo.1'],
    ],
  )
  await clock.advance(7 * 60_000)
  events.warn(ECHO, 'FieldIgnored', 'same')
  await clock.advance(0)
  t.match(written.at(-1), { count: 1, name: 'echo.2' }, 'after a while it is a new event')
})

t.test('one object has a bound, others are not touched by it', async (t) => {
  const { clock, written, events } = setUp()
  for (let i = 0; i < 100; i++) events.warn(ECHO, 'FieldIgnored', `note ${i}`)
  events.warn({ ...ECHO, name: 'web' }, 'FieldIgnored', 'x')
  await clock.advance(0)
  t.equal(written.length, 26)
  t.equal(events.dropped, 75)
  await clock.advance(5 * 60_000)
  events.warn(ECHO, 'FieldIgnored', 'one more')
  await clock.advance(0)
  t.equal(written.length, 27)
})

t.test('what waits has a bound', async (t) => {
  const { clock, events } = setUp(() => new Promise(() => undefined))
  for (let i = 0; i < 500; i++) events.warn({ ...ECHO, name: `s${i}` }, 'FieldIgnored', 'x')
  await clock.advance(0)
  t.equal(events.dropped, 500 - 201)
})

t.test('a server that does not take it is asked three times', async (t) => {
  let tries = 0
  const { clock, written, events } = setUp(async () => {
    if (++tries <= 5) throw new Error('503')
  })
  events.warn(ECHO, 'FieldIgnored', 'lost')
  events.warn(ECHO, 'FieldIgnored', 'kept')
  await clock.advance(60_000)
  t.equal(events.dropped, 1)
  t.strictSame(
    written.map(({ note }) => note),
    ['kept'],
  )
})

t.test('a long note is cut to what the API takes', async (t) => {
  const { clock, written, events } = setUp()
  events.warn(ECHO, 'FieldIgnored', 'ä'.repeat(2000))
  await clock.advance(0)
  t.ok(Buffer.byteLength(written[0]?.note ?? '') <= 1024)
  t.match(written[0]?.note, /\.\.\.$/)
})

t.test('the object of a problem is the subject of its event', async (t) => {
  t.strictSame(eventSubject('Service demo/echo', 'u1'), ECHO)
  t.strictSame(eventSubject('Node node-1'), { kind: 'Node', name: 'node-1' })
  t.equal(eventSubject('Service (unnamed)'), undefined)
  t.equal(eventSubject('Snapshot'), undefined)
})

t.test('close waits for what is being written, not for long', async (t) => {
  const { clock, events } = setUp(() => new Promise(() => undefined))
  events.warn(ECHO, 'FieldIgnored', 'x')
  const closed = events.close()
  await clock.advance(1000)
  await closed
  events.warn(ECHO, 'FieldIgnored', 'y')
  t.pass('nothing is taken after it')
})
