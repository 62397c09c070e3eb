/**
 * What the main thread and a native relay thread say to each other: records of events come in batches,
 * verdicts go back in batches. Verdicts that are given while a batch is told wait for its end.
 */

/** Records fetched, and verdicts kept, at once. */
const BATCH = 256

/** Of one kind of relay: the calls of the addon, and how long its records and verdicts are. */
export interface RelayCalls {
  readonly recordWords: number
  /** The first two are the slot and the verdict. */
  readonly verdictWords: number
  /** Fills `records`; returns how many. */
  receive(records: Uint32Array): number
  answer(verdicts: Uint32Array, count: number): void
  /** Tells of the record at a word of `records`. */
  tell(at: number): void
  /** All that had happened was told. */
  batchSeen?(): void
}

export class RelayExchange {
  readonly #calls: RelayCalls
  readonly records: Uint32Array
  readonly verdicts: Uint32Array
  #verdictCount = 0
  #isReceiving = false
  #isClosed = false

  constructor(calls: RelayCalls) {
    this.#calls = calls
    this.records = new Uint32Array(BATCH * calls.recordWords)
    this.verdicts = new Uint32Array(BATCH * calls.verdictWords)
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Nothing is received or answered any more. */
  close(): void {
    this.#isClosed = true
  }

  /** Begins a verdict: the word of `verdicts` where it stands, for what it has beside slot and verdict. */
  begin(slot: number, verdict: number): number {
    if (this.#verdictCount === BATCH) this.#flush()
    const at = this.#verdictCount++ * this.#calls.verdictWords
    this.verdicts[at] = slot
    this.verdicts[at + 1] = verdict
    return at
  }

  /** The verdict is complete: it goes at once, or with the others of the batch that is being told. */
  end(): void {
    if (!this.#isReceiving) this.#flush()
  }

  /** When the thread has said that records wait. */
  receive(): void {
    this.#isReceiving = true
    try {
      // Until none is left: only then is a new one told.
      while (!this.#isClosed) {
        const count = this.#calls.receive(this.records)
        for (let i = 0; i < count; i++) this.#calls.tell(i * this.#calls.recordWords)
        this.#flush()
        if (count < BATCH) break
      }
      if (!this.#isClosed) {
        this.#calls.batchSeen?.()
        this.#flush()
      }
    } finally {
      this.#isReceiving = false
    }
  }

  /** A count of bytes in a record: low word, high word. */
  bytesAt(at: number): number {
    return (this.records[at] ?? 0) + (this.records[at + 1] ?? 0) * 2 ** 32
  }

  #flush(): void {
    const count = this.#verdictCount
    this.#verdictCount = 0
    if (count > 0 && !this.#isClosed) this.#calls.answer(this.verdicts, count)
  }
}

/** Counters by name, in the order of `names`. */
export function namedCounters<Name extends string>(
  names: readonly Name[],
  counters: Float64Array,
): Readonly<Record<Name, number>> {
  return Object.fromEntries(names.map((name, index) => [name, counters[index] ?? 0])) as Readonly<
    Record<Name, number>
  >
}
