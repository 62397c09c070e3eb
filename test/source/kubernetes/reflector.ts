/** Waits of the reflector, with a clock; what it does on the wire is in kubernetes-source.ts. */
import t from 'tap'
import { ApiError } from '../../../src/source/kubernetes/api-error.js'
import type { ApiClient } from '../../../src/source/kubernetes/api-client.js'
import { KnownObjects } from '../../../src/source/kubernetes/known-objects.js'
import { Reflector, REFLECTOR_TIMING } from '../../../src/source/kubernetes/reflector.js'
import { watchedResources } from '../../../src/source/kubernetes/watched-resource.js'
import { FakeClock } from '../../fixtures/fake-clock.js'

/** Waits after each of the errors that a server answers with, one a request. */
async function waitsAfter(errors: readonly Error[], random: number): Promise<readonly number[]> {
  const clock = new FakeClock()
  const abort = new AbortController()
  const waits: number[] = []
  const left = [...errors]
  const client = {
    open: async () => {
      const error = left.shift()
      if (error !== undefined) throw error
      abort.abort()
      return Promise.reject(new Error('the test is over'))
    },
  } as unknown as ApiClient
  const [resource] = watchedResources('node-a')
  const reflector = new Reflector({
    resource: resource!,
    client,
    known: new KnownObjects('Service', () => undefined),
    clock,
    random: () => random,
    timing: REFLECTOR_TIMING,
    onListed: () => undefined,
    onReceived: () => undefined,
    onFailure: (_message, retryInMs) => waits.push(retryInMs),
    onContact: () => undefined,
  })
  const running = reflector.run(abort.signal)
  await clock.advance(10 * 60_000)
  await running
  return waits
}

const gone = () => new ApiError('watch', { status: 410, reason: 'Expired' })
const failed = () => new ApiError('watch', { status: 500, reason: 'InternalError' })

t.test('a relist after 410 waits for up to two seconds more than the back-off', async (t) => {
  const [least] = await waitsAfter([gone()], 0)
  const [most] = await waitsAfter([gone()], 0.999)
  const [backoff] = await waitsAfter([failed()], 0.999)
  t.ok(least !== undefined && most !== undefined && backoff !== undefined)
  t.equal(Math.round(most! - backoff!), 1998, 'nodes do not list at once')
  t.equal(least, REFLECTOR_TIMING.backoffInitialMs)
})

t.test('failures in a row are waited for longer and longer, up to the bound', async (t) => {
  const waits = await waitsAfter(Array.from({ length: 9 }, failed), 0)
  t.strictSame(waits, [800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000, 30_000])
})

t.test('a server that says when to come back is not asked before', async (t) => {
  const busy = new ApiError('list', { status: 429, reason: '', retryAfterMs: 45_000 })
  const [wait] = await waitsAfter([busy], 0)
  t.ok(wait! >= 45_000, `${wait} ms`)
})
