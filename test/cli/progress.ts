import t from 'tap'
import { Progress } from '../../src/cli/progress.js'

function setUp(isTerminal: boolean) {
  let text = ''
  let now = 0
  const progress = new Progress({
    write: (part) => (text += part),
    isTerminal,
    columns: () => 20,
    nowMs: () => now,
  })
  return {
    progress,
    text: () => text,
    later: (ms: number) => {
      now += ms
    },
  }
}

t.test('on a terminal one line is redrawn, and goes away', async (t) => {
  const { progress, text, later } = setUp(true)
  progress.step('one')
  progress.step('too soon')
  later(100)
  progress.step('a text that is too long')
  t.equal(text(), '\r\u001b[Kone ...\r\u001b[Ka text that is ...')
  progress.end()
  progress.end()
  t.ok(text().endsWith('...\r\u001b[K'))
})

t.test('elsewhere there is a line now and then, and none of what is quick', async (t) => {
  const { progress, text, later } = setUp(false)
  progress.step('one')
  later(9999)
  progress.step('two')
  t.equal(text(), '')
  later(1)
  progress.step('three')
  progress.step('four')
  progress.end()
  t.equal(text(), 'three ...\n')
})
