import t from 'tap'

import { together } from '../../src/lib/together.js'

t.test('work goes on at once, and all of it has ended', async (t) => {
  const log: string[] = []
  let release = (): void => undefined
  const second = new Promise<void>((resolve) => {
    release = resolve
  })
  await together(['a', 'b'], async (name) => {
    log.push(`${name} begins`)
    if (name === 'a') await second
    else release()
    log.push(`${name} ends`)
  })
  t.strictSame(log, ['a begins', 'b begins', 'b ends', 'a ends'])
})

t.test('a failure waits for the others', async (t) => {
  let isDone = false
  const failing = together([1, 2], async (number) => {
    if (number === 1) throw new Error('refused')
    await new Promise((resolve) => setImmediate(resolve))
    isDone = true
  })
  await t.rejects(failing, { message: 'refused' })
  t.ok(isDone)
})
