/**
 * SYNs that were steered to an endpoint of which is known how fast it answers, until that time is over: by
 * their place in the flow table. Whether they were answered is noted there; looked at a few times a second,
 * so an answer costs nothing here. Bound: as many as there are flows; beyond, a SYN is not watched.
 */
export class UnansweredSyns {
  readonly #flowsSentMs: Float64Array
  readonly #places: Int32Array
  /** When it was sent: tells a place that has been given to another flow since. */
  readonly #sentMs: Float64Array
  readonly #dueMs: Float64Array
  #size = 0

  /** `sentMs`: when the SYN of each flow was sent, by place. */
  constructor(sentMs: Float64Array) {
    const capacity = sentMs.length
    this.#flowsSentMs = sentMs
    this.#places = new Int32Array(capacity)
    this.#sentMs = new Float64Array(capacity)
    this.#dueMs = new Float64Array(capacity)
  }

  get size(): number {
    return this.#size
  }

  add(place: number, patienceMs: number): void {
    if (this.#size === this.#places.length) return
    const sentMs = this.#flowsSentMs[place] ?? 0
    this.#places[this.#size] = place
    this.#sentMs[this.#size] = sentMs
    this.#dueMs[this.#size] = sentMs + patienceMs
    this.#size++
  }

  /** Those whose time is over; they, and those that are not `waiting` any more, are watched no longer. */
  takeOverdue(nowMs: number, waiting: (place: number, sentMs: number) => boolean): number[] {
    const overdue: number[] = []
    let kept = 0
    for (let i = 0; i < this.#size; i++) {
      const place = this.#places[i] ?? 0
      const sentMs = this.#sentMs[i] ?? 0
      const dueMs = this.#dueMs[i] ?? 0
      if (!waiting(place, sentMs)) continue
      if (dueMs <= nowMs) {
        overdue.push(place)
        continue
      }
      this.#places[kept] = place
      this.#sentMs[kept] = sentMs
      this.#dueMs[kept] = dueMs
      kept++
    }
    this.#size = kept
    return overdue
  }

  clear(): void {
    this.#size = 0
  }
}
