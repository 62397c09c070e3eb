/**
 * Draws an index in proportion to its weight, in O(1) and without allocation (Walker's alias method
 * as Vose builds it): each index has a cell of equal size, and what is left of a light one's cell
 * belongs to a heavy one.
 */
export class AliasTable {
  #keep = new Float64Array(0)
  #alias = new Int32Array(0)

  get size(): number {
    return this.#keep.length
  }

  /** Weights above zero, one an index. O(n). */
  build(weights: Float64Array): void {
    const size = weights.length
    const sum = weights.reduce((total, weight) => total + weight, 0)
    const keep = Float64Array.from(weights, (weight) => (weight * size) / sum)
    const alias = Int32Array.from({ length: size }, (_, index) => index)
    const light: number[] = []
    const heavy: number[] = []
    for (let index = 0; index < size; index++) {
      if ((keep[index] ?? 1) < 1) light.push(index)
      else heavy.push(index)
    }
    for (;;) {
      const [small, large] = [light.pop(), heavy.at(-1)]
      if (small === undefined || large === undefined) break
      alias[small] = large
      const rest = (keep[large] ?? 0) + (keep[small] ?? 0) - 1
      keep[large] = rest
      if (rest < 1) light.push(heavy.pop() ?? 0)
    }
    this.#keep = keep
    this.#alias = alias
  }

  /**
   * An index, by a number in [0, 1) that is the first of `random`; -1 when there is none. A number by
   * itself would be put on the heap on its way here.
   */
  draw(random: Float64Array): number {
    const size = this.#keep.length
    const at = (random[0] ?? 0) * size
    const cell = Math.floor(at)
    if (cell >= size) return size - 1
    return at - cell < (this.#keep[cell] ?? 1) ? cell : (this.#alias[cell] ?? cell)
  }
}
