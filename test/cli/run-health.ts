/** What becomes of a change of health: one line of the log, and one event on the Service. */
import t from 'tap'
import { reportChange } from '../../src/cli/run-health.js'
import { Events, type EventRecord } from '../../src/observe/events.js'
import type { HealthChange } from '../../src/policy/health/health-monitor.js'
import { endpoint, servicePort } from '../fixtures/endpoint.js'
import { FakeClock } from '../fixtures/fake-clock.js'
import { healthCheck } from '../fixtures/health.js'

const change = {
  type: 'endpoint',
  servicePort: servicePort(),
  endpoint: endpoint('10.1.0.1'),
  check: healthCheck(),
  reason: 'connection refused',
} as const

function setUp() {
  const clock = new FakeClock()
  const records: EventRecord[] = []
  const events = new Events({
    clock,
    wallClock: () => new Date(clock.nowMs()),
    uniqueText: () => 'x',
    write: (record) => {
      records.push(record)
      return Promise.resolve()
    },
  })
  const lines: string[] = []
  const note = (level: string) => (_context: unknown, message?: string) => {
    lines.push(`${level} ${message ?? ''}`)
  }
  const log = { info: note('info'), warn: note('warn') } as never
  const report = (one: HealthChange) => {
    reportChange({ log, events }, one)
  }
  return { clock, events, lines, records, report }
}

t.test('every change is one line with its reason, and one event on the Service', async (t) => {
  const { clock, lines, records, report } = setUp()
  report({ ...change, isUp: false })
  report({ ...change, isUp: true, reason: 'connected' })
  report({
    type: 'ejection',
    servicePort: change.servicePort,
    endpoint: change.endpoint,
    isEjected: true,
  })
  await clock.advance(1)
  t.match(lines, [/^warn .*is down.*refused$/, /^info .*is up.*connected$/, /^warn .*passed over/])
  const subject = { kind: 'Service', namespace: 'demo', name: 'echo' }
  t.match(records, [
    { type: 'Warning', subject, reason: 'EndpointUnhealthy', note: /refused/, isLogged: true },
    { type: 'Normal', subject, reason: 'EndpointHealthy', isLogged: true },
    { type: 'Warning', subject, reason: 'EndpointEjected', isLogged: true },
  ])
})

t.test('events are limited Service by Service; the log has every change', async (t) => {
  const { clock, events, lines, records, report } = setUp()
  for (let i = 0; i < 40; i++) report({ ...change, isUp: false, reason: `code ${i}` })
  await clock.advance(1)
  t.equal(lines.length, 40)
  t.equal(records.length, 25)
  t.equal(events.dropped, 15)
})
