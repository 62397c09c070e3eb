/**
 * Latencies in logarithmic buckets: memory is constant, a percentile is at most 10% too high, and
 * two histograms are merged by adding. Pure.
 */

/** Upper bound of bucket n is FIRST_MS * GROWTH ** n: 0.05 ms to 16 s in 133 buckets. */
const FIRST_MS = 0.05
const GROWTH = 1.1
const BUCKETS = 134

export class LatencyHistogram {
  readonly #counts = new Uint32Array(BUCKETS)
  #total = 0
  #slowestMs = 0

  get total(): number {
    return this.#total
  }

  /** Exact, not a bucket's bound; 0 before the first. */
  get slowestMs(): number {
    return this.#slowestMs
  }

  record(latencyMs: number): void {
    this.#add(bucketOf(latencyMs), 1)
    this.#slowestMs = Math.max(this.#slowestMs, latencyMs)
  }

  /** Adds what entries() of another one gave. Buckets out of range are ignored. */
  merge(entries: readonly (readonly [number, number])[], slowestMs: number): void {
    for (const [bucket, count] of entries) {
      if (bucket >= 0 && bucket < BUCKETS) this.#add(bucket, count)
    }
    this.#slowestMs = Math.max(this.#slowestMs, slowestMs)
  }

  /** Pairs of bucket and count, without empty ones. */
  entries(): readonly (readonly [number, number])[] {
    const entries: (readonly [number, number])[] = []
    this.#counts.forEach((count, bucket) => {
      if (count > 0) entries.push([bucket, count])
    })
    return entries
  }

  /** Upper bound in milliseconds of what `percent` (0..100) of the latencies were below; 0 when empty. */
  percentileMs(percent: number): number {
    const rank = Math.max(1, Math.ceil((this.#total * percent) / 100))
    let seen = 0
    for (const [bucket, count] of this.entries()) {
      seen += count
      if (seen >= rank) return Math.min(FIRST_MS * GROWTH ** bucket, this.#slowestMs)
    }
    return 0
  }

  #add(bucket: number, count: number): void {
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + count
    this.#total += count
  }
}

function bucketOf(latencyMs: number): number {
  if (latencyMs <= FIRST_MS) return 0
  const bucket = Math.ceil(Math.log(latencyMs / FIRST_MS) / Math.log(GROWTH))
  return Math.min(bucket, BUCKETS - 1)
}
