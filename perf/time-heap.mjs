/** Things with a time `atMs`, the earliest first (a binary heap); equal times in the order they came. */
export class TimeHeap {
  #heap = []
  #count = 0

  push(thing) {
    const heap = this.#heap
    const entry = { thing, atMs: thing.atMs, order: this.#count++ }
    let place = heap.push(entry) - 1
    while (place > 0) {
      const above = (place - 1) >> 1
      if (isBefore(heap[above], entry)) break
      heap[place] = heap[above]
      place = above
    }
    heap[place] = entry
  }

  /** Takes out the earliest, if it is due until then. */
  popUntil(untilMs) {
    const heap = this.#heap
    const first = heap[0]
    if (first === undefined || first.atMs > untilMs) return undefined
    const last = heap.pop()
    if (heap.length === 0) return first.thing
    let place = 0
    for (;;) {
      let below = place * 2 + 1
      if (below >= heap.length) break
      if (below + 1 < heap.length && isBefore(heap[below + 1], heap[below])) below++
      if (isBefore(last, heap[below])) break
      heap[place] = heap[below]
      place = below
    }
    heap[place] = last
    return first.thing
  }
}

function isBefore(one, other) {
  return one.atMs === other.atMs ? one.order < other.order : one.atMs < other.atMs
}
