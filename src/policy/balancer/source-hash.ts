/**
 * Source hash with bounded load: a client's address leads to the same endpoint as long as that has
 * room, and when an endpoint comes or goes only the clients that it takes or leaves move.
 *
 * Multi-probe consistent hashing (Appleton and O'Reilly, 2015): every endpoint is POINTS points on a
 * ring, every client PROBES; the endpoint is the one that a probe meets first going round. Probes
 * keep anyone from getting much more than its share, points from getting much less. A probe passes
 * over an endpoint that
 * - has been tried,
 * - has its share of the load: open >= factor * (all open + 1) * weight / all weights (consistent
 *   hashing with bounded loads, Mirrokni et al., 2017; HAProxy's hash-balance-factor),
 * - is too light for this client: each has a fixed chance of its weight over the largest weight,
 *   rounded up to a power of two, so that another largest weight seldom moves anybody. When only
 *   such ones have room, the first of them.
 *
 * Warmth says nothing here: nodes would not agree.
 */
import { hashText, mixBits, mixHash } from '../../lib/hash.js'
import type { Endpoint } from '../../model/endpoint.js'
import {
  AT_REST,
  clientBits,
  isTried,
  type Balancer,
  type EndpointStates,
  type PickContext,
} from './balancer.js'

export interface SourceHashOptions {
  /** The same on all nodes. */
  readonly seed: string
  /** How much more than its share an endpoint may have, in percent (125: a quarter); 0: no bound. */
  readonly balanceFactor: number
}

const PROBES = 8
const POINTS = 16
const GOLDEN = 0x9e3779b9
const TWO_32 = 4_294_967_296
/** Room for an index beside a hash in one number: a million endpoints. */
const INDEX_ROOM = 1_048_576

export class SourceHash implements Balancer {
  readonly name = 'source-hash'
  readonly #seed: number
  readonly #factor: number
  #endpoints: readonly Endpoint[] = []
  #indexes: ReadonlyMap<string, number> = new Map()
  /** The ring: points in ascending order, and the index of the endpoint at each. */
  #points = new Float64Array(0)
  #owners = new Int32Array(0)
  /** By index: open connections, and the chance times 2^32 that a client takes it. */
  #open = new Int32Array(0)
  #chances = new Float64Array(0)
  #hashes = new Uint32Array(0)
  /** Of the pick at hand: the distance of the nearest endpoint so far. */
  #limit = Infinity
  #allOpen = 0
  #allWeights = 0

  constructor({ seed, balanceFactor }: SourceHashOptions) {
    this.#seed = hashText(seed)
    this.#factor = balanceFactor / 100
  }

  setEndpoints(endpoints: readonly Endpoint[], states: EndpointStates = AT_REST): void {
    this.#endpoints = endpoints
    this.#indexes = new Map(endpoints.map(({ id }, index) => [id, index]))
    this.#open = Int32Array.from(endpoints, (endpoint) => states.openOf(endpoint))
    this.#allOpen = this.#open.reduce((sum, open) => sum + open, 0)
    this.#allWeights = endpoints.reduce((sum, { weight }) => sum + weight, 0)
    const largest = endpoints.reduce((max, { weight }) => Math.max(max, weight), 1)
    const scale = 2 ** Math.ceil(Math.log2(largest))
    this.#chances = Float64Array.from(endpoints, ({ weight }) => (weight / scale) * TWO_32)
    this.#hashes = new Uint32Array(endpoints.length)
    const ring = new Float64Array(endpoints.length * POINTS)
    for (const [index, { id }] of endpoints.entries()) {
      const hash = hashText(id, this.#seed)
      this.#hashes[index] = hash
      for (let i = 0; i < POINTS; i++) {
        ring[index * POINTS + i] = mixHash(hash + Math.imul(i, GOLDEN)) * INDEX_ROOM + index
      }
    }
    ring.sort()
    this.#points = ring.map((entry) => Math.floor(entry / INDEX_ROOM))
    this.#owners = Int32Array.from(ring, (entry) => entry % INDEX_ROOM)
  }

  pick(context: PickContext, tried: readonly Endpoint[]): Endpoint | undefined {
    const key = clientBits(context, this.#seed)
    let best = -1
    this.#limit = Infinity
    for (let probe = 0; probe < PROBES; probe++) {
      const point = mixBits(key + Math.imul(probe, GOLDEN))
      const place = this.#meet(point, key, tried)
      // The first one has been all round.
      if (place < 0 && probe === 0) return this.#makeshift(point, tried)
      if (place >= 0) best = this.#owners[place] ?? 0
    }
    return this.#endpoints[best]
  }

  onConnect(endpoint: Endpoint): void {
    this.#add(endpoint, 1)
  }

  onClose(endpoint: Endpoint): void {
    this.#add(endpoint, -1)
  }

  /**
   * Place of the first endpoint after the point that takes the client and is nearer than the limit, which
   * is its distance from now on; or -1. Points and keys are bits here, so that none is put on the heap.
   */
  #meet(point: number, key: number, tried: readonly Endpoint[]): number {
    const size = this.#points.length
    const start = this.#placeAfter(point)
    for (let step = 0; step < size; step++) {
      const place = start + step < size ? start + step : start + step - size
      const ahead = (this.#points[place] ?? 0) - (point >>> 0)
      const distance = ahead < 0 ? ahead + TWO_32 : ahead
      if (distance >= this.#limit) return -1
      if (!this.#takes(place, key, tried)) continue
      this.#limit = distance
      return place
    }
    return -1
  }

  #takes(place: number, key: number, tried: readonly Endpoint[]): boolean {
    const index = this.#owners[place] ?? 0
    const endpoint = this.#endpoints[index]
    if (endpoint === undefined || (tried.length > 0 && isTried(endpoint, tried))) return false
    // By its own hash, which all of its points share: it takes a client or does not.
    const lot = mixBits(key ^ (this.#hashes[index] ?? 0)) >>> 0
    return lot < (this.#chances[index] ?? 0) && this.#hasRoom(index, endpoint)
  }

  #hasRoom(index: number, { weight }: Endpoint): boolean {
    if (this.#factor === 0) return true
    const share = ((this.#allOpen + 1) * weight) / this.#allWeights
    return (this.#open[index] ?? 0) < Math.ceil(this.#factor * share)
  }

  /** Nobody takes the client: the first one that was not tried, if it can be one with room. */
  #makeshift(point: number, tried: readonly Endpoint[]): Endpoint | undefined {
    const size = this.#points.length
    const start = this.#placeAfter(point)
    let without: Endpoint | undefined
    for (let step = 0; step < size; step++) {
      const index = this.#owners[(start + step) % size] ?? 0
      const endpoint = this.#endpoints[index]
      if (endpoint === undefined || isTried(endpoint, tried)) continue
      if (this.#hasRoom(index, endpoint)) return endpoint
      without ??= endpoint
    }
    return without
  }

  /** The first place whose point is not below; 0 after the last one. */
  #placeAfter(point: number): number {
    const points = this.#points
    const least = point >>> 0
    let low = 0
    let high = points.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((points[middle] ?? 0) < least) low = middle + 1
      else high = middle
    }
    return low === points.length ? 0 : low
  }

  #add(endpoint: Endpoint, change: number): void {
    const index = this.#indexes.get(endpoint.id)
    if (index === undefined) return
    const before = this.#open[index] ?? 0
    const after = Math.max(0, before + change)
    this.#open[index] = after
    this.#allOpen += after - before
  }
}
