import t from 'tap'
import { ProgrammingLatency } from '../../src/observe/programming-latency.js'

const START = Date.UTC(2026, 0, 1)
const at = (ms: number) => new Date(START + ms).toISOString()
const slice = (ms: number | undefined, addressType = 'IPv4') => ({
  addressType,
  metadata:
    ms === undefined
      ? {}
      : { annotations: { 'endpoints.kubernetes.io/last-change-trigger-time': at(ms) } },
})

function measure() {
  const latency = new ProgrammingLatency(START)
  const sync = (ms: number) => {
    const seen: string[] = []
    latency.syncStarted()
    latency.synced(START + ms, (family, seconds) => seen.push(`${family} ${seconds}`))
    return seen
  }
  return { latency, sync }
}

t.test('a change counts from its moment to the end of the sync that has it', async (t) => {
  const { latency, sync } = measure()
  latency.changed('a/1', slice(1000))
  latency.changed('a/2', slice(1500, 'IPv6'))
  t.strictSame(sync(2000), ['IPv4 1', 'IPv6 0.5'])
  t.strictSame(sync(3000), [], 'once')
})

t.test('what has no moment, or one from before the start, does not count', async (t) => {
  const { latency, sync } = measure()
  latency.changed('a/1', slice(undefined))
  latency.changed('a/2', slice(-1000))
  latency.changed('a/3', slice(1000, 'FQDN'))
  const annotations = { 'endpoints.kubernetes.io/last-change-trigger-time': 'yesterday' }
  latency.changed('a/4', { ...slice(0), metadata: { annotations } })
  t.strictSame(sync(2000), [])
})

t.test('a slice that comes again unchanged is no change', async (t) => {
  const { latency, sync } = measure()
  latency.changed('a/1', slice(1000))
  sync(2000)
  latency.changed('a/1', slice(1000))
  t.strictSame(sync(3000), [])
  latency.changed('a/1', slice(2500))
  t.strictSame(sync(3000), ['IPv4 0.5'])
})

t.test(
  'a change waits for the sync that succeeds, and those that come meanwhile for theirs',
  async (t) => {
    const { latency, sync } = measure()
    latency.changed('a/1', slice(1000))
    latency.syncStarted() // Fails.
    latency.changed('a/2', slice(2000))
    latency.syncStarted()
    latency.changed('a/3', slice(2500))
    const seen: number[] = []
    latency.synced(START + 3000, (_, seconds) => seen.push(seconds))
    t.strictSame(seen, [2, 1])
    t.strictSame(sync(4000), ['IPv4 1.5'])
  },
)
