import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import t, { type Test } from 'tap'

import { waitReadable, WakeUp } from '../../src/kernel/wait.js'

const DEADLINE_MS = 10_000

function wakeUp(t: Test): WakeUp {
  const event = new WakeUp()
  t.teardown(() => {
    event.close()
  })
  return event
}

t.test('each descriptor that is readable has its bit', async (t) => {
  const events = Array.from({ length: 16 }, () => wakeUp(t))
  const fds = Int32Array.from(events, ({ fd }) => fd)
  t.equal(waitReadable(fds, 0), 0)
  for (const index of [0, 7, 15]) events[index]!.signal()
  t.equal(waitReadable(fds, DEADLINE_MS), 1 | (1 << 7) | (1 << 15))
  events[7]!.clear()
  events[7]!.clear()
  t.equal(waitReadable(fds, DEADLINE_MS), 1 | (1 << 15))
  t.equal(waitReadable(fds.subarray(7, 8), 0), 0)
  t.equal(waitReadable(new Int32Array(), 0), 0)
})

t.test('more than 16 descriptors are refused', async (t) => {
  t.throws(() => waitReadable(new Int32Array(17), 0), TypeError)
})

t.test('a wait ends when its time is over', async (t) => {
  const { fd } = wakeUp(t)
  const start = performance.now()
  t.equal(waitReadable(Int32Array.of(fd), 50), 0)
  const took = performance.now() - start
  t.ok(took >= 49, `after ${took} ms`)
})

t.test('another thread is woken from its wait, by the number of the descriptor', async (t) => {
  const [there, back] = [wakeUp(t), wakeUp(t)]
  const code = `
    const { workerData } = require('node:worker_threads')
    import(workerData.url).then(({ waitReadable, WakeUp }) => {
      const [there, back] = workerData.fds.map((fd) => new WakeUp(fd))
      back.signal()
      waitReadable(Int32Array.of(there.fd), -1)
      there.clear()
      back.signal()
    })`
  const url = new URL('../../dist/kernel/wait.js', import.meta.url).href
  const workerData = { url, fds: [there.fd, back.fd] }
  const worker = new Worker(code, { eval: true, workerData, execArgv: [] })
  const ended = once(worker, 'exit')
  const fds = Int32Array.of(there.fd, back.fd)
  await once(worker, 'online')
  t.equal(waitReadable(fds, DEADLINE_MS), 2, 'it is about to wait')
  back.clear()
  there.signal()
  t.equal(waitReadable(fds.subarray(1), DEADLINE_MS), 1, 'it has been woken')
  t.equal(waitReadable(fds.subarray(0, 1), 0), 0)
  t.same(await ended, [0])
})
