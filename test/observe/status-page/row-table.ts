import t from 'tap'
import { RowTable } from '../../../src/observe/status-page/row-table.js'
import { modelEndpoint } from '../../fixtures/objects.js'
import { DOWN, inputsOf, portStateOf } from '../../fixtures/status-inputs.js'

const A = modelEndpoint('10.244.0.1:8080')
const B = modelEndpoint('10.244.0.2:8080')
const names = (rows: readonly (readonly unknown[])[]) => rows.map(([, name]) => name)

t.test('a reader is sent what has changed since it was sent something', async (t) => {
  const table = new RowTable()
  const [one, two] = [portStateOf('one', [A]), portStateOf('two', [A, B])]
  table.update(inputsOf([one, two]), 1)
  const first = table.since(0)
  t.same(names(first.rows), ['demo/one:http', 'demo/two:http'])
  const { tick } = table
  table.update(inputsOf([one, two]), 1)
  t.same(table.since(tick), { rows: [], counts: [], gone: [] }, 'nothing has')

  table.update(inputsOf([one, portStateOf('two', [A])]), 1)
  t.same(names(table.since(tick).rows), ['demo/two:http'])
  const before = table.tick
  table.update(inputsOf([one]), 1)
  t.same(table.since(before).gone, [first.rows[1]![0]])
  t.equal(table.rowOf(first.rows[1]![0]), undefined)
})

t.test('an endpoint is counted once, by the state that it has', async (t) => {
  const table = new RowTable()
  const inputs = inputsOf([portStateOf('one', [A, B])], {
    healthOf: (_, id) => (id === A.id ? DOWN : undefined),
    ejectedSince: () => new Date(),
  })
  table.update(inputs, 1)
  t.same(table.sums(), { inUse: 2, down: 1, ejected: 1 })
})

t.test('health that changed is looked at again, and nothing else', async (t) => {
  const table = new RowTable()
  let isDown = false
  const inputs = inputsOf([portStateOf('one', [A]), portStateOf('two', [B])], {
    healthOf: () => (isDown ? DOWN : undefined),
  })
  table.update(inputs, 1)
  isDown = true
  table.update(inputs, 1)
  t.equal(table.sums().down, 0)
  table.markStale('demo/two:http/TCP/IPv4')
  table.update(inputs, 1)
  t.equal(table.sums().down, 1)
})

t.test('rates rise with connections, and come to rest at 0', async (t) => {
  const table = new RowTable()
  const inputs = inputsOf([portStateOf('one', [A])])
  const counts = inputs.traffic.servicePort('demo/one:http/TCP/IPv4')
  table.update(inputs, 1)
  for (let i = 0; i < 40; i++) {
    counts.totalConnections += 10
    table.update(inputs, 1)
  }
  t.equal(table.since(0).counts[0]![2], 10)
  for (let i = 0; i < 60; i++) table.update(inputs, 1)
  t.equal(table.since(0).counts[0]![2], 0)
  const { tick } = table
  table.update(inputs, 1)
  t.same(table.since(tick).counts, [])
})

t.test('not more rows than the bound, nor more VIPs than are read', async (t) => {
  const table = new RowTable(2)
  const states = ['a', 'b', 'c'].map((name) => portStateOf(name, [A]))
  table.update(inputsOf(states), 1)
  t.equal(table.size, 2)
  const external = Array.from({ length: 20 }, (_, i) => `198.51.100.${i}`)
  const many = new RowTable()
  many.update(inputsOf([portStateOf('a', [A], { externalIps: external })]), 1)
  t.match(many.since(0).rows[0]![3], /^10\.96\.0\.10:80 .* \+13$/)
})

t.test('a reader of before what is forgotten has to begin anew', async (t) => {
  const table = new RowTable(1)
  for (const name of ['a', 'b', 'c', 'd']) table.update(inputsOf([portStateOf(name, [A])]), 1)
  t.ok(table.forgottenAt > 0)
  t.equal(table.size, 1)
})
