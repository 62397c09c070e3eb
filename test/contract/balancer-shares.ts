/** What share of the connections each endpoint gets, by every balancer, while endpoints come and go. */
import fc from 'fast-check'
import t from 'tap'
import type { Endpoint } from '../../src/model/endpoint.js'
import type { Balancer, PickContext } from '../../src/policy/balancer/balancer.js'
import {
  BALANCER_NAMES,
  createBalancer,
  type BalancerName,
} from '../../src/policy/balancer/registry.js'
import { BALANCER_DEFAULTS } from '../../src/policy/balancer/settings.js'
import { context, countPicks, pool, seededRandom } from '../fixtures/balancing.js'

interface Promises {
  /** A share of equals may be off by this, of itself, over 10,000 connections. */
  readonly spread: number
  /** Goes by weights: a share is within this, of all connections, over 10,000 of them. */
  readonly weights?: number
  /** Two endpoints that are always there differ by no more than this, whoever else comes and goes. */
  readonly apart?: number
  /** Goes by the number of open connections. */
  readonly counts?: true
}

/** By the definition of each; a hash knows only clients, so what it promises of shares is rough. */
const PROMISES: Readonly<Record<Exclude<BalancerName, 'plugin'>, Promises>> = {
  'round-robin': { spread: 0.001, apart: 1 },
  'weighted-round-robin': { spread: 0.002, weights: 0.01, apart: 2 },
  'least-connections': { spread: 0.001, apart: 1, counts: true },
  'weighted-least-connections': { spread: 0.001, weights: 0.01, apart: 1, counts: true },
  'random-two': { spread: 0.05, weights: 0.01, counts: true },
  maglev: { spread: 0.2, weights: 0.025 },
  'source-hash': { spread: 0.6, counts: true },
  'peak-ewma': { spread: 0.05, weights: 0.01, counts: true },
}

const make = (name: BalancerName, hashBalanceFactor = 0): Balancer =>
  createBalancer({ ...BALANCER_DEFAULTS, hashBalanceFactor, hashesPort: true, name })

/** Another client each time. */
const contextOf = (i: number): Partial<PickContext> => ({
  clientIp: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`,
  clientPort: 1024 + (i % 60_000),
})

const all = pool(8)
const [first, second] = all as [Endpoint, Endpoint]

for (const name of BALANCER_NAMES) {
  const promises: Promises = PROMISES[name]

  t.test(`${name}: equals have equal shares of 10,000 connections`, async () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 12 }), fc.nat(), (size, seed) => {
        const balancer = make(name)
        const set = pool(size)
        balancer.setEndpoints(set)
        const random = seededRandom(seed)
        const counts = countPicks(balancer, { picks: 10_000, random, contextOf, staysOpen: true })
        const share = 10_000 / size
        return set.every(({ id }) => {
          const off = Math.abs((counts.get(id) ?? 0) - share)
          return off <= Math.max(1, share * promises.spread)
        })
      }),
      { numRuns: 10 },
    )
  })

  const { weights: exactness } = promises
  if (exactness !== undefined) {
    t.test(`${name}: weights are honoured over 10,000 connections`, async () => {
      const weights = fc.array(fc.integer({ min: 1, max: 256 }), { minLength: 2, maxLength: 10 })
      fc.assert(
        fc.property(weights, fc.nat(), (of, seed) => {
          const balancer = make(name)
          const set = pool(of.length, of)
          balancer.setEndpoints(set)
          const random = seededRandom(seed)
          const counts = countPicks(balancer, { picks: 10_000, random, contextOf, staysOpen: true })
          const sum = of.reduce((a, b) => a + b, 0)
          return set.every(
            ({ id, weight }) =>
              Math.abs((counts.get(id) ?? 0) / 10_000 - weight / sum) <= exactness,
          )
        }),
        { numRuns: 12 },
      )
    })
  }

  const { apart } = promises
  if (apart !== undefined) {
    t.test(`${name}: who comes and goes does not favour anybody who stays`, async () => {
      const change = fc.tuple(fc.subarray(all.slice(2)), fc.integer({ min: 0, max: 9 }))
      fc.assert(
        fc.property(fc.array(change, { maxLength: 60 }), (changes) => {
          const balancer = make(name)
          const open = new Map<string, number>()
          for (const [others, picks] of changes) {
            const states = { openOf: ({ id }: Endpoint) => open.get(id) ?? 0, warmthOf: () => 1 }
            balancer.setEndpoints([first, second, ...others], states)
            for (let i = 0; i < picks; i++) {
              const picked = balancer.pick(context({ random: 0.3 }), [])!
              balancer.onConnect?.(picked)
              open.set(picked.id, (open.get(picked.id) ?? 0) + 1)
            }
          }
          const difference = (open.get(first.id) ?? 0) - (open.get(second.id) ?? 0)
          return Math.abs(difference) <= apart
        }),
      )
    })
  }

  t.test(`${name}: after joins and leaves it is as if they had always been so`, async () => {
    const sets = fc.array(fc.subarray([...all], { minLength: 2 }), { minLength: 1, maxLength: 12 })
    fc.assert(
      fc.property(sets, fc.nat(), (changes, seed) => {
        const balancer = make(name)
        for (const set of changes) {
          balancer.setEndpoints(set)
          countPicks(balancer, { picks: 7, contextOf })
        }
        const set = changes.at(-1)!
        balancer.setEndpoints(set)
        const random = seededRandom(seed)
        const counts = countPicks(balancer, { picks: 4000, random, contextOf, staysOpen: true })
        const share = 4000 / set.length
        const limit = Math.max(10, share * promises.spread * 1.5)
        return (
          [...counts.keys()].every((id) => set.some((one) => one.id === id)) &&
          set.every(({ id }) => Math.abs((counts.get(id) ?? 0) - share) <= limit)
        )
      }),
      { numRuns: 25 },
    )
  })

  if (promises.counts === true) {
    t.test(`${name}: counts never go below zero, whatever comes in which order`, async () => {
      const event = fc.tuple(fc.nat({ max: 3 }), fc.constantFrom('open', 'close', 'fail', 'set'))
      fc.assert(
        fc.property(fc.array(event, { maxLength: 80 }), (events) => {
          const set = all.slice(0, 4)
          // With a bound, so that source-hash goes by what it has counted.
          const balancer = make(name, 101)
          const open = new Map<string, number>()
          const states = { openOf: ({ id }: Endpoint) => open.get(id) ?? 0, warmthOf: () => 1 }
          balancer.setEndpoints(set, states)
          for (const [of, what] of events) {
            const one = set[of]!
            const before = open.get(one.id) ?? 0
            if (what === 'open') balancer.onConnect?.(one)
            if (what === 'close') balancer.onClose?.(one)
            if (what === 'fail' && name !== 'peak-ewma') balancer.onConnectFailure?.(one, 0)
            if (what === 'set') balancer.setEndpoints(set.slice(of), states)
            if (what === 'set') balancer.setEndpoints(set, states)
            if (what === 'open') open.set(one.id, before + 1)
            if (what === 'close') open.set(one.id, Math.max(0, before - 1))
          }
          // All end, and one of them a hundred times too often: it would owe nothing for that.
          for (const one of set) {
            const surplus = one === first ? 100 : 0
            for (let i = (open.get(one.id) ?? 0) + surplus; i > 0; i--) balancer.onClose?.(one)
          }
          const counts = countPicks(balancer, { picks: 80, contextOf, staysOpen: true })
          return Math.abs((counts.get(first.id) ?? 0) - 20) <= 8
        }),
      )
    })
  }
}
