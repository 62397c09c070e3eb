import fc from 'fast-check'
import t from 'tap'

import { LOADS, type Measurements, ModeSelector } from '../../../src/datapath/auto/mode-selector.js'

const NONE = {
  servicePorts: 0,
  endpoints: 0,
  connectionsPerSecond: 0,
  queueDropsPerSecond: 0,
  verdictPercent: 0,
}
const select = (thresholds: Partial<typeof NONE>, holdDownMs = 1000) =>
  new ModeSelector({ thresholds: { ...NONE, ...thresholds }, returnPercent: 80, holdDownMs })

t.test('each load makes the rules take over, with its reason', async (t) => {
  for (const of of LOADS) {
    const selector = select({ [of]: 10 })
    t.equal(selector.decide({ [of]: 10 }, 0).usesRules, false, `${of}: the threshold itself`)
    const { usesRules, isSwitch, reason } = selector.decide({ [of]: 10.5 }, 1)
    t.ok(usesRules && isSwitch, of)
    t.match(reason, /^10\.5 .*, the threshold is 10$/)
  }
})

t.test('0 is no threshold, and what is not measured decides nothing', async (t) => {
  const selector = select({ servicePorts: 10 })
  t.notOk(selector.decide({ endpoints: 1e9 }, 0).usesRules)
  t.same(selector.thresholds(), [
    { of: 'servicePorts', limit: 10, returnLimit: 8, value: undefined },
  ])
})

t.test('it goes back below 0.8 of the threshold, after the hold-down', async (t) => {
  const selector = select({ servicePorts: 10 })
  selector.decide({ servicePorts: 11 }, 0)
  t.ok(selector.decide({ servicePorts: 9 }, 5000).usesRules, 'between: it stays')
  t.ok(selector.decide({ servicePorts: 8 }, 6000).usesRules)
  t.ok(selector.decide({ servicePorts: 9 }, 6500).usesRules, 'the hold-down begins anew')
  t.ok(selector.decide({ servicePorts: 8 }, 7000).usesRules)
  t.ok(selector.decide({ servicePorts: 8 }, 7999).usesRules)
  const { usesRules, isSwitch, reason } = selector.decide({ servicePorts: 8 }, 8000)
  t.ok(!usesRules && isSwitch)
  t.equal(reason, 'at most 80 % of every threshold for 1 s')
})

t.test(
  'after queue drops or busy verdicts the connection rate of then is what must fall',
  async (t) => {
    for (const of of ['queueDropsPerSecond', 'verdictPercent'] as const) {
      const selector = select({ [of]: 10 })
      selector.decide({ [of]: 20, connectionsPerSecond: 1000 }, 0)
      t.ok(selector.decide({ [of]: 0, connectionsPerSecond: 900 }, 10_000).usesRules)
      t.ok(selector.decide({ [of]: 0, connectionsPerSecond: 800 }, 20_000).usesRules)
      t.notOk(selector.decide({ [of]: 0, connectionsPerSecond: 800 }, 21_000).usesRules)
      t.notOk(selector.decide({ [of]: 0, connectionsPerSecond: 5000 }, 22_000).usesRules)
    }
  },
)

t.test('property: no flapping, and every switch has its cause', async () => {
  const sample = fc.record({
    measured: fc.record(
      Object.fromEntries(LOADS.map((of) => [of, fc.integer({ min: 0, max: 200 })])),
      { requiredKeys: [] },
    ),
    afterMs: fc.integer({ min: 0, max: 2000 }),
  })
  fc.assert(
    fc.property(fc.array(sample, { maxLength: 200 }), (samples) => {
      const selector = select(Object.fromEntries(LOADS.map((of) => [of, 100])), 1500)
      let nowMs = 0
      let wentAtMs = -Infinity
      let lowSinceMs: number | undefined
      for (const { measured, afterMs } of samples) {
        nowMs += afterMs
        const values = Object.values(measured as Measurements)
        const isLow = values.every((value) => value <= 80)
        lowSinceMs = isLow ? (lowSinceMs ?? nowMs) : undefined
        const before = selector.usesRules
        const { usesRules, isSwitch } = selector.decide(measured, nowMs)
        if (isSwitch !== (usesRules !== before)) return false
        if (usesRules && !before) {
          if (!values.some((value) => value > 100)) return false
          wentAtMs = nowMs
        }
        if (!usesRules && before) {
          if (nowMs - wentAtMs < 1500 || lowSinceMs === undefined) return false
          if (nowMs - lowSinceMs < 1500) return false
        }
        if (!usesRules && values.some((value) => value > 100)) return false
      }
      return true
    }),
  )
})
