/** The latest numbers of a few series, in memory that never grows: one Float32Array. */
export class Ring {
  readonly #values: Float32Array
  readonly #series: number
  readonly #length: number
  /** Steps recorded since the start. */
  count = 0

  constructor(series: number, length: number) {
    this.#series = series
    this.#length = length
    this.#values = new Float32Array(series * length)
  }

  /** One step; the oldest makes room. */
  push(values: readonly number[]): void {
    const at = (this.count % this.#length) * this.#series
    for (let i = 0; i < this.#series; i++) this.#values[at + i] = values[i] ?? 0
    this.count++
  }

  /** Steps that are still here are numbered from this one on. */
  get first(): number {
    return Math.max(0, this.count - this.#length)
  }

  /** A series of a step that is still here. */
  get(step: number, series: number): number {
    return this.#values[(step % this.#length) * this.#series + series] ?? 0
  }
}
