/**
 * A heap of the numbers 0 .. size-1, least key first; among equal keys the one whose turn is the
 * longest ago. Typed arrays throughout: nothing is allocated but by `reset`.
 *
 *   #heap   place in the heap -> index        keys    index -> key
 *   #place  index -> place in the heap        turns   index -> when it was taken last (a counter)
 */
export class IndexHeap {
  keys: Float64Array = new Float64Array(0)
  turns: Float64Array = new Float64Array(0)
  #heap = new Int32Array(0)
  #place = new Int32Array(0)
  #turn = 0

  get size(): number {
    return this.#heap.length
  }

  /** Takes these keys and turns, one of each an index, as its own. O(n). */
  reset(keys: Float64Array, turns: Float64Array): void {
    const size = keys.length
    this.keys = keys
    this.turns = turns
    this.#heap = Int32Array.from({ length: size }, (_, index) => index)
    this.#place = Int32Array.from(this.#heap)
    for (let place = (size >> 1) - 1; place >= 0; place--) this.#sink(place)
  }

  /** Index of the least key; -1 when it is empty. */
  first(): number {
    return this.#heap[0] ?? -1
  }

  keyOf(index: number): number {
    return this.keys[index] ?? Infinity
  }

  /**
   * Its key has been written into `keys`: it goes to its place. O(log n). No argument for the key, which
   * would be put on the heap on its way here.
   */
  settle(index: number): void {
    const place = this.#place[index] ?? 0
    if (!this.#rise(place)) this.#sink(place)
  }

  /** The index was taken: among its equals it comes last from now on. O(log n). */
  take(index: number): void {
    this.turns[index] = ++this.#turn
    this.settle(index)
  }

  #isBefore(a: number, b: number): boolean {
    const keyA = this.keys[a] ?? 0
    const keyB = this.keys[b] ?? 0
    if (keyA !== keyB) return keyA < keyB
    return (this.turns[a] ?? 0) < (this.turns[b] ?? 0)
  }

  /** Whether it moved. */
  #rise(from: number): boolean {
    let place = from
    const index = this.#heap[place] ?? 0
    while (place > 0) {
      const above = (place - 1) >> 1
      const other = this.#heap[above] ?? 0
      if (!this.#isBefore(index, other)) break
      this.#put(place, other)
      place = above
    }
    this.#put(place, index)
    return place !== from
  }

  #sink(from: number): void {
    let place = from
    const index = this.#heap[place] ?? 0
    const size = this.#heap.length
    for (;;) {
      let below = 2 * place + 1
      if (below >= size) break
      const right = below + 1
      if (right < size && this.#isBefore(this.#heap[right] ?? 0, this.#heap[below] ?? 0)) {
        below = right
      }
      const other = this.#heap[below] ?? 0
      if (!this.#isBefore(other, index)) break
      this.#put(place, other)
      place = below
    }
    this.#put(place, index)
  }

  #put(place: number, index: number): void {
    this.#heap[place] = index
    this.#place[index] = place
  }
}
