import t from 'tap'
import { newAnnotationProblems } from '../../../src/policy/annotation-problems.js'
import { BALANCER_DEFAULTS, readBalancerSettings } from '../../../src/policy/balancer/settings.js'
import { portState, servicePort, snapshotOf } from '../../fixtures/endpoint.js'

const read = (annotations: Record<string, string>) =>
  readBalancerSettings(servicePort({ annotations }), BALANCER_DEFAULTS)

t.test('without annotations the configuration decides', async (t) => {
  t.strictSame(read({}), { settings: { ...BALANCER_DEFAULTS, hashesPort: true }, problems: [] })
})

t.test('the annotation names the balancer', async (t) => {
  t.equal(read({ balancer: 'least-connections' }).settings.name, 'least-connections')
})

t.test('a name that nobody has is one problem, and the default', async (t) => {
  const { settings, problems } = read({ balancer: 'fastest' })
  t.equal(settings.name, 'round-robin')
  t.equal(problems.length, 1)
  t.match(problems[0], {
    object: 'Service demo/echo',
    field: 'metadata.annotations["kube-sluice.io/balancer"]',
    message: /no balancer "fastest"; round-robin is used, choose one of: round-robin, /,
  })
})

t.test(
  'problems are told once: for all ports of a Service, and for as long as they last',
  async (t) => {
    const bad = { annotations: { balancer: 'fastest' } }
    const of = (over: object, generation: number) =>
      snapshotOf(
        [portState(servicePort(over), []), portState(servicePort({ ...over, portName: 'b' }), [])],
        generation,
      )
    const readers = [
      (port: Parameters<typeof readBalancerSettings>[0]) =>
        readBalancerSettings(port, BALANCER_DEFAULTS).problems,
    ]
    const [none, first, second] = [of({}, 1), of(bad, 2), of({ ...bad, port: 81 }, 3)]
    t.equal(newAnnotationProblems(none, first, readers).length, 1)
    t.equal(newAnnotationProblems(first, second, readers).length, 0)
    t.equal(newAnnotationProblems(second, none, readers).length, 0)
    t.equal(newAnnotationProblems(none, second, readers).length, 1)
  },
)

t.test('parameters by annotation; a bad one is a problem and the configured value', async (t) => {
  const { settings, problems } = read({
    'balancer-maglev-table-size': '1021',
    'balancer-hash-balance-factor': '0',
    'balancer-peak-ewma-decay': '2s',
    'balancer-slow-start': '1m',
    'balancer-slow-start-floor': '0',
    'balancer-slow-strat': '1s',
    'health-check': 'none of our business',
  })
  t.match(settings, {
    maglevTableSize: 1021,
    hashBalanceFactor: 0,
    peakEwmaDecayMs: 2000,
    slowStartMs: 60_000,
    slowStartFloor: 10,
  })
  t.strictSame(
    problems.map(({ message }) => message),
    [
      '"0" is not a whole number from 1 to 100; the configured value is used',
      'is not known and ignored; did you mean kube-sluice.io/balancer-slow-start?',
    ],
  )
})

t.test('a table of Maglev needs a prime', async (t) => {
  const { settings, problems } = read({ 'balancer-maglev-table-size': '1000' })
  t.equal(settings.maglevTableSize, BALANCER_DEFAULTS.maglevTableSize)
  t.match(problems[0], { message: /is not a prime; the next one is 1009/ })
})

t.test('with session affinity the port of a client is left out', async (t) => {
  const port = servicePort({ affinityTimeoutSeconds: 10 })
  t.equal(readBalancerSettings(port, BALANCER_DEFAULTS).settings.hashesPort, false)
})
