import t from 'tap'
import { FirstSync } from '../../src/sync/first-sync.js'
import { FakeClock } from '../fixtures/fake-clock.js'
import { applyService, applySlice, endpointSlice, service } from '../fixtures/objects.js'

function setUp() {
  const clock = new FakeClock()
  const lines: [object, string][] = []
  const log = { info: (context: object, message: string) => lines.push([context, message]) }
  return { clock, lines, first: new FirstSync({ clock, log }) }
}

t.test('nothing is said when it is quick', async (t) => {
  const { clock, lines, first } = setUp()
  await clock.advance(4999)
  first.end()
  first.end()
  await clock.advance(60_000)
  t.same(lines, [])
})

t.test('what was read, and what it waits for, every ten seconds', async (t) => {
  const { clock, lines, first } = setUp()
  first.took([applyService(service()), applySlice(endpointSlice())], false)
  await clock.advance(5000)
  first.took([applySlice(endpointSlice({ name: 'echo-2' }))], true)
  await clock.advance(10_000)
  t.match(lines, [
    [{ services: 1, slices: 1, nodes: 0, seconds: 5 }, /^objects are still being read/],
    [{ services: 1, slices: 2, seconds: 15 }, /^all objects are read/],
  ])
  first.end()
})
