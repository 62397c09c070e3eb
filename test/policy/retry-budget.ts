import t from 'tap'
import { RetryBudget } from '../../src/policy/retry-budget.js'

t.test('retries under way are bounded by a share of the open connections', async (t) => {
  const budget = new RetryBudget({ percent: 20, minConcurrency: 3 })
  const granted = Array.from({ length: 30 }, () => budget.tryAcquire(100)).filter(Boolean).length
  t.equal(granted, 20)
  t.equal(budget.refused, 10)
  budget.release()
  t.ok(budget.tryAcquire(100), 'an ended retry makes room')
})

t.test('a few are always allowed', async (t) => {
  const budget = new RetryBudget({ percent: 20, minConcurrency: 3 })
  t.strictSame(
    [1, 1, 1, 1].map((open) => budget.tryAcquire(open)),
    [true, true, true, false],
  )
})

t.test('releasing more than was taken does not create budget', async (t) => {
  const budget = new RetryBudget({ percent: 0, minConcurrency: 1 })
  budget.release()
  t.equal(budget.underWay, 0)
  t.ok(budget.tryAcquire(0))
  t.notOk(budget.tryAcquire(0))
})
