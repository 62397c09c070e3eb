import fc from 'fast-check'
import t from 'tap'
import { INITIAL_STATES, RiseFall } from '../../../src/policy/health/rise-fall.js'

const play = (machine: RiseFall, results: string): string =>
  results
    .split('')
    .map((result) => {
      machine.record(result === '+')
      return machine.isUp ? 'U' : 'd'
    })
    .join('')

t.test('fall failures in a row take it down, rise successes in a row bring it up', async (t) => {
  const machine = new RiseFall({ rise: 2, fall: 3, initialState: 'fully-up' })
  t.equal(play(machine, '--+--+---+-++-'), 'UUUUUUUUddddUU')
})

t.test('the initial state says how far away the other one is', async (t) => {
  const first = { up: '-', down: '+', 'fully-up': '---', 'fully-down': '++' } as const
  for (const initialState of INITIAL_STATES) {
    const machine = new RiseFall({ rise: 2, fall: 3, initialState })
    t.equal(machine.isUp, initialState.endsWith('up'), initialState)
    const states = play(machine, first[initialState])
    t.equal(states.at(-1), initialState.endsWith('up') ? 'd' : 'U', initialState)
    t.ok(new Set(states.slice(0, -1)).size <= 1, states)
  }
})

t.test('an endpoint that began up needs fall failures after its first success', async (t) => {
  const machine = new RiseFall({ rise: 2, fall: 3, initialState: 'up' })
  t.equal(machine.trend, 'falling', 'not sure yet: probed at the fast interval')
  t.equal(play(machine, '+'), 'U')
  t.equal(machine.trend, 'up')
  t.equal(play(machine, '--'), 'UU')
  t.equal(machine.trend, 'falling')
  t.equal(play(machine, '-'), 'd')
  t.equal(machine.trend, 'down')
  t.equal(play(machine, '+'), 'd')
  t.equal(machine.trend, 'rising')
})

t.test(
  'record tells of changes and of nothing else; a state needs its run of results',
  async () => {
    const results = fc.array(fc.boolean(), { maxLength: 60 })
    const count = fc.integer({ min: 1, max: 6 })
    fc.assert(
      fc.property(
        results,
        count,
        count,
        fc.constantFrom(...INITIAL_STATES),
        (list, rise, fall, initialState) => {
          const machine = new RiseFall({ rise, fall, initialState })
          let isFirst = true
          let run = 0
          let last: boolean | undefined
          for (const result of list) {
            const wasUp = machine.isUp
            run = result === last ? run + 1 : 1
            last = result
            const hasChanged = machine.record(result)
            if (hasChanged !== (machine.isUp !== wasUp)) return false
            if (hasChanged && machine.isUp !== result) return false
            if (hasChanged && !isFirst && run < (result ? rise : fall)) return false
            if (hasChanged) isFirst = false
            if (run >= (result ? rise : fall) && machine.isUp !== result) return false
          }
          return true
        },
      ),
    )
  },
)
