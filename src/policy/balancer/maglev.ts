/**
 * Maglev: a table that connections are hashed into. Every node with the same endpoints, seed and
 * table size has the same table, so a client goes to the same endpoint through all of them; when an
 * endpoint goes, nearly all others keep their clients (Eisenbud et al., NSDI 2016, section 3.4).
 *
 * Each endpoint has its own order of the table's places, and the endpoints take turns at the next
 * free place of theirs, by weight: as Envoy does it, an endpoint takes a turn when its weight has
 * added up to the largest one. The table is made at the first pick after a change: a Service port
 * has two balancers, and one of them is seldom asked.
 *
 * Warmth says nothing here: tables of different nodes would not agree.
 */
import { hashText, mixBits } from '../../lib/hash.js'
import { primeFrom } from '../../lib/prime.js'
import type { Endpoint } from '../../model/endpoint.js'
import { clientBits, isTried, type Balancer, type PickContext } from './balancer.js'

export interface MaglevOptions {
  /** The same on all nodes. */
  readonly seed: string
  /** A prime; for a reshuffle of at most 1 % a hundred times the endpoints. */
  readonly tableSize: number
  /** Whether the client's port counts too; it must not where clients are to stay. */
  readonly hashesPort: boolean
}

/** Other places of the table that are tried before the endpoints in order. */
const MAX_REHASHES = 8
const GOLDEN = 0x9e3779b9

export class Maglev implements Balancer {
  readonly name = 'maglev'
  readonly #options: MaglevOptions
  readonly #seed: number
  #endpoints: readonly Endpoint[] = []
  /** Place -> index of an endpoint; undefined: to be made. */
  #table: Uint16Array | Int32Array | undefined

  constructor(options: MaglevOptions) {
    this.#options = options
    this.#seed = hashText(options.seed)
  }

  setEndpoints(endpoints: readonly Endpoint[]): void {
    const before = this.#endpoints
    const isSame =
      before.length === endpoints.length &&
      endpoints.every(({ id, weight }, i) => id === before[i]?.id && weight === before[i].weight)
    this.#endpoints = endpoints
    if (!isSame) this.#table = undefined
  }

  pick(context: PickContext, tried: readonly Endpoint[]): Endpoint | undefined {
    const endpoints = this.#endpoints
    const count = endpoints.length
    if (count === 0) return undefined
    this.#table ??= maglevTable(endpoints, this.#seed, this.#options.tableSize)
    const table = this.#table
    let hash = clientBits(context, this.#seed)
    if (this.#options.hashesPort) hash = mixBits(hash ^ Math.imul(context.clientPort + 1, GOLDEN))
    for (let i = 0; i <= MAX_REHASHES; i++) {
      const endpoint = endpoints[table[(hash >>> 0) % table.length] ?? 0]
      if (endpoint !== undefined && (tried.length === 0 || !isTried(endpoint, tried))) {
        return endpoint
      }
      hash = mixBits(hash + GOLDEN)
    }
    for (let i = 0; i < count; i++) {
      const endpoint = endpoints[((hash >>> 0) + i) % count]
      if (endpoint !== undefined && !isTried(endpoint, tried)) return endpoint
    }
    return undefined
  }
}

/** The table of endpoints in the order of their ids. Its size grows until each can have two places. */
export function maglevTable(
  endpoints: readonly Endpoint[],
  seed: number,
  tableSize: number,
): Uint16Array | Int32Array {
  const count = endpoints.length
  const size = tableSize >= 2 * count ? tableSize : primeFrom(2 * count)
  const table = count > 0xffff ? new Int32Array(size) : new Uint16Array(size)
  const isTaken = new Uint8Array(size)
  const next = Float64Array.from(endpoints, ({ id }) => hashText(id, seed) % size)
  const skip = Float64Array.from(endpoints, ({ id }) => (hashText(id, ~seed) % (size - 1)) + 1)
  const largest = endpoints.reduce((max, { weight }) => Math.max(max, weight), 1)
  const dueAt = new Float64Array(count)
  let filled = 0
  for (let round = 1; filled < size; round++) {
    for (let index = 0; index < count && filled < size; index++) {
      if (round * (endpoints[index]?.weight ?? 1) < (dueAt[index] ?? 0)) continue
      dueAt[index] = (dueAt[index] ?? 0) + largest
      let place = next[index] ?? 0
      const step = skip[index] ?? 1
      while (isTaken[place] === 1) place = (place + step) % size
      table[place] = index
      isTaken[place] = 1
      next[index] = (place + step) % size
      filled++
    }
  }
  return table
}
