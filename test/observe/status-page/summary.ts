import t from 'tap'
import { summaryOf, totalsOf } from '../../../src/observe/status-page/summary.js'
import { proxyStatus } from '../../fixtures/status-document.js'
import { modelEndpoint } from '../../fixtures/objects.js'
import { inputsOf, portStateOf } from '../../fixtures/status-inputs.js'

const A = modelEndpoint('10.244.0.1:8080')
const SUMS = { rows: 1, inUse: 1, down: 0, ejected: 0 }
const states = [portStateOf('one', [A]), portStateOf('two', [A])]

t.test('figures of the whole proxy; rows beyond the bound are told of', async (t) => {
  const inputs = inputsOf(states)
  inputs.traffic.servicePort('demo/one:http/TCP/IPv4').opened(A.id)
  t.match(summaryOf(inputs, SUMS), {
    ...{ mode: 'userspace', modeDetail: 'anyip', countsConnections: true, problem: null },
    ...{ servicePorts: 2, endpoints: 2, leftOut: 1, open: 1, total: 1, queues: 0 },
  })
})

t.test('modes of rules count nothing; auto has its thresholds as meters', async (t) => {
  const { auto } = proxyStatus()
  const summary = summaryOf(inputsOf(states, { mode: 'nftables', capture: undefined, auto }), SUMS)
  t.match(summary, {
    countsConnections: false,
    modeDetail: 'then nftables',
    gauges: [{ name: 'servicePorts', value: 3, limit: 5000 }],
  })
})

t.test('queues are summed', async (t) => {
  const { steering } = proxyStatus()
  const queues = [...steering.queues, { queue: 101, waiting: 3, dropped: 0, droppedByBuffer: 4 }]
  const inputs = inputsOf(states, { mode: 'nfqueue', steering: { ...steering, queues } })
  t.match(totalsOf(inputs), { waiting: 5, queueDropped: 5, bounds: [1], latency: [1, 0] })
  t.equal(summaryOf(inputs, SUMS).queues, 2)
})

t.test('the worst problem is the one that is told', async (t) => {
  const warnings = ['a', 'b', 'c']
  const problem = (more: Parameters<typeof inputsOf>[1]) =>
    summaryOf(inputsOf(states, { warnings, ...more }), SUMS).problem
  t.equal(problem({}), 'a (and 2 more warnings)')
  t.equal(problem({ warnings: ['a'] }), 'a')
  t.match(problem({ lastSyncAt: undefined }), 'Nothing is in force yet')
  t.equal(problem({ lastSyncError: 'no' }), 'The last sync failed: no')
})
