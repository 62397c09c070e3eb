import fc from 'fast-check'
import t from 'tap'
import type { HealthCheckType } from '../../../src/policy/health/health-check.js'
import { HEALTH_SETTINGS } from '../../../src/policy/health/health-settings.js'
import { parseHealthCheck } from '../../../src/policy/health/parse-health-check.js'
import { servicePort } from '../../fixtures/endpoint.js'
import { DEFAULTS } from '../../fixtures/health.js'

const parse = (
  annotations: Record<string, string>,
  over: Parameters<typeof servicePort>[0] = {},
  defaults = DEFAULTS,
) => parseHealthCheck(servicePort({ ...over, annotations }), defaults)

t.test('without annotations the default decides', async (t) => {
  t.equal(parse({}).check.type, 'passive')
  t.equal(parse({}, {}, { ...DEFAULTS, check: 'none' }).check.type, 'none')
  t.equal(parse({}, {}, { ...DEFAULTS, check: 'tcp' }).check.type, 'tcp')
  const auto = { ...DEFAULTS, check: 'auto' } as const
  const cases: [Parameters<typeof servicePort>[0], HealthCheckType][] = [
    [{ appProtocol: 'http' }, 'http'],
    [{ appProtocol: 'HTTPS' }, 'https'],
    [{ portName: 'http-web' }, 'http'],
    [{ portName: 'metrics' }, 'tcp'],
    [{ protocol: 'UDP', portName: 'syslog' }, 'passive'],
    [{ protocol: 'SCTP' }, 'passive'],
  ]
  for (const [port, type] of cases) {
    t.equal(parse({}, port, auto).check.type, type, JSON.stringify(port))
    t.equal(parse({}, port).check.type, 'passive')
    t.equal(parse({ 'health-check': 'auto' }, port).check.type, type)
  }
})

t.test('every setting is read', async (t) => {
  const { check, problems } = parse({
    'health-check': 'http',
    'health-check-path': '/healthz?full=1',
    'health-check-host': 'shop.example:8443',
    'health-check-method': 'HEAD',
    'health-check-headers': 'X-Probe: 1\nAuthorization: Basic eDp5',
    'health-check-expect': '200-299, 401',
    'health-check-expect-body': 'status\\tok',
    'health-check-interval': '1s',
    'health-check-rise': '1',
    'health-check-fall': '5',
    'health-check-jitter': '20%',
    'health-check-port': 'admin',
    'health-check-initial-state': 'fully-down',
    'health-check-down-interval': '30s',
    'health-check-on-down': 'reset',
    'health-check-on-down-grace': '5s',
  })
  t.strictSame(problems, [])
  t.match(check, {
    type: 'http',
    path: '/healthz?full=1',
    host: 'shop.example:8443',
    method: 'HEAD',
    headers: [
      ['X-Probe', '1'],
      ['Authorization', 'Basic eDp5'],
    ],
    expectStatus: [
      { from: 200, to: 299 },
      { from: 401, to: 401 },
    ],
    expectBytes: Buffer.from('status\tok'),
    intervalMs: 1000,
    timeoutMs: 500,
    fastIntervalMs: 500,
    downIntervalMs: 30_000,
    rise: 1,
    fall: 5,
    jitterPercent: 20,
    port: 'admin',
    initialState: 'fully-down',
    onDown: 'reset',
    onDownGraceMs: 5000,
  })
})

t.test('time-out and fast interval follow the interval, up to a second', async (t) => {
  t.match(parse({ 'health-check': 'tcp' }).check, { timeoutMs: 1000, fastIntervalMs: 1000 })
  const { check } = parse({ 'health-check': 'tcp', 'health-check-interval': '400ms' })
  t.match(check, { timeoutMs: 200, fastIntervalMs: 200, downIntervalMs: 400 })
})

t.test(
  'a setting for one port wins over that for the Service, and is nothing to others',
  async (t) => {
    const annotations = {
      'health-check': 'tcp',
      'health-check.web': 'http',
      'health-check-path.web': '/ready',
      'health-check-interval': '2s',
      'health-check-interval.web': '4s',
    }
    t.match(parse(annotations, { portName: 'web' }), {
      check: { type: 'http', path: '/ready', intervalMs: 4000 },
      problems: [],
    })
    const other = parse(annotations, { portName: 'db' })
    t.match(other, { check: { type: 'tcp', intervalMs: 2000 }, problems: [] })
  },
)

t.test('a bad setting is a problem of its Service and costs only itself', async (t) => {
  const cases: [Record<string, string>, RegExp, object][] = [
    [
      { 'health-check': 'htpp' },
      /no health check "htpp", did you mean http\?/,
      { type: 'passive' },
    ],
    [{ 'health-check-intervall': '1s' }, /no such setting.*health-check-interval\?/, {}],
    [{ 'health-check-interval': '1' }, /not a duration.*did you mean 1s/, { intervalMs: 10_000 }],
    [{ 'health-check-interval': '1ms' }, /must be from 100ms to/, { intervalMs: 10_000 }],
    [{ 'health-check-rise': '0' }, /not a whole number/, { rise: 2 }],
    [{ 'health-check-port': '70000' }, /neither a port number/, { port: undefined }],
    [{ 'health-check-path': '/' }, /no meaning for a check of type tcp/, {}],
    [{ 'health-check-expect': '\\q' }, /has a \\ that is not one of/, {}],
    [{ 'health-check-jitter': '101%' }, /not a share/, { jitterPercent: 0 }],
    [{ 'health-check-on-down': 'kill' }, /unknown/, { onDown: 'keep' }],
  ]
  for (const [annotations, message, expected] of cases) {
    const { check, problems } = parse({ 'health-check': 'tcp', ...annotations })
    t.equal(problems.length, 1, JSON.stringify(annotations))
    t.match(problems[0], { object: 'Service demo/echo', message })
    const field = Object.keys(annotations)[0] ?? ''
    t.equal(problems[0]?.field, `metadata.annotations[kube-sluice.io/${field}]`)
    t.match(check, { type: 'tcp', ...expected })
  }
  t.match(parse({ 'health-check-interval': '1s' }).problems, [
    { message: /no meaning for.*passive/ },
  ])
})

t.test('existing flows are kept, but those of UDP are sent elsewhere', async (t) => {
  t.equal(parse({ 'health-check': 'tcp' }).check.onDown, 'keep')
  t.equal(parse({ 'health-check': 'tcp' }, { protocol: 'UDP' }).check.onDown, 'reset')
})

t.test('any annotations give a check, and never throw', async () => {
  const names = [
    '',
    ...[...HEALTH_SETTINGS.keys()].map((name) => `-${name}`),
    '-x',
    '.web',
    '-port.web',
  ]
  const annotations = fc.dictionary(
    fc.constantFrom(...names.map((name) => `health-check${name}`)),
    fc.oneof(fc.string(), fc.constantFrom('tcp', 'http', '1s', '5', 'hex:00', '200-299', 'a A')),
  )
  fc.assert(
    fc.property(annotations, (given) => {
      const { check } = parse(given, { portName: 'web' })
      return check.intervalMs >= 100 && check.timeoutMs >= 10 && check.rise >= 1 && check.fall >= 1
    }),
  )
})
