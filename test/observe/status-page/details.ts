import t from 'tap'
import { detailsOf, MAX_ENDPOINTS } from '../../../src/observe/status-page/details.js'
import { History } from '../../../src/observe/status-page/history.js'
import { RowTable } from '../../../src/observe/status-page/row-table.js'
import { modelEndpoint } from '../../fixtures/objects.js'
import { DOWN, inputsOf, portStateOf } from '../../fixtures/status-inputs.js'

const A = modelEndpoint('10.244.0.1:8080', { podName: 'web-1', nodeName: 'node-b' })
const B = modelEndpoint('10.244.0.2:8080', { isReady: false })

function setUp(inputs = inputsOf([portStateOf('one', [A, B]), portStateOf('two', [A])])) {
  const table = new RowTable()
  table.update(inputs, 1)
  const ask = (query: string) =>
    detailsOf(new URLSearchParams(query), inputs, { table, history: new History() })
  return { ask, ids: table.since(0).rows.map(([id]) => id) }
}

t.test('rows that are asked for, and endpoints of those that are open', async (t) => {
  const { ask, ids } = setUp()
  const { rows } = ask(`rows=${ids.join()}&open=${ids[0]}`)
  t.same(
    rows.map(({ endpoints }) => endpoints?.map(({ address, state }) => [address, state])),
    [
      [
        [A.id, 'up'],
        [B.id, 'not ready'],
      ],
      undefined,
    ],
  )
  t.match(rows[0]?.endpoints?.[0], { pod: 'web-1', node: 'node-b', zone: '', reason: '' })
})

t.test('health: state, since, and what was found', async (t) => {
  const inputs = inputsOf([portStateOf('one', [A])], { healthOf: () => DOWN })
  const { ask, ids } = setUp(inputs)
  t.match(ask(`rows=${ids[0]}&open=${ids[0]}`).rows[0]?.endpoints, [
    { state: 'down', reason: 'http: answered 503', since: '2026-01-01T00:00:02.000Z' },
  ])
})

t.test('what nobody knows is left out, and nonsense is no error', async (t) => {
  const { ask } = setUp()
  for (const query of ['', 'rows=', 'rows=99,abc,-1', 'open=1', `rows=${'7,'.repeat(5000)}`]) {
    t.same(ask(query).rows, [], query.slice(0, 20))
  }
})

t.test('not more endpoints than the bound, and how many more there are', async (t) => {
  const many = Array.from({ length: MAX_ENDPOINTS + 5 }, (_, i) => modelEndpoint(`10.9.${i}.1:80`))
  const { ask, ids } = setUp(inputsOf([portStateOf('one', many), portStateOf('two', [A])]))
  const { rows } = ask(`rows=${ids.join()}&open=${ids.join()}`)
  t.equal(rows[0]?.endpoints?.length, MAX_ENDPOINTS)
  t.equal(rows[0]?.leftOut, 5)
  t.equal(rows[1]?.leftOut, 1)
})
