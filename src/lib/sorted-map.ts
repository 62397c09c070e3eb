/**
 * An immutable map with string keys in ascending order of UTF-16 code units. A changed copy shares
 * what did not change with the original, so that copying it, and finding the differences of two
 * copies, cost in proportion to the change and not to the size.
 *
 * Entries lie in chunks of at most 2 * CHUNK.
 */

const CHUNK = 32

interface Chunk<V> {
  readonly keys: readonly string[]
  readonly values: readonly V[]
}

/** What is different under one key; undefined: not there. */
export interface Difference<V> {
  readonly key: string
  readonly before: V | undefined
  readonly after: V | undefined
}

export class SortedMap<V> implements ReadonlyMap<string, V> {
  readonly size: number
  readonly #chunks: readonly Chunk<V>[]

  private constructor(chunks: readonly Chunk<V>[]) {
    this.#chunks = chunks
    this.size = chunks.reduce((sum, { keys }) => sum + keys.length, 0)
  }

  static empty<V>(): SortedMap<V> {
    return new SortedMap<V>([])
  }

  get(key: string): V | undefined {
    const chunk = this.#chunks[chunkIndex(this.#chunks, key)]
    if (chunk === undefined) return undefined
    const index = lowerBound(chunk.keys, key)
    return chunk.keys[index] === key ? chunk.values[index] : undefined
  }

  /** As get() !== undefined: undefined is no value here. */
  has(key: string): boolean {
    return this.get(key) !== undefined
  }

  /** A copy with these entries set, or removed where the value is undefined. */
  with(changes: ReadonlyMap<string, V | undefined>): SortedMap<V> {
    if (changes.size === 0) return this
    const sorted = [...changes].sort(([a], [b]) => (a < b ? -1 : 1))
    if (this.#chunks.length === 0) return new SortedMap(chunksOf(merge(undefined, sorted)))
    const chunks: Chunk<V>[] = []
    let next = 0
    for (const [index, chunk] of this.#chunks.entries()) {
      const limit = this.#chunks[index + 1]?.keys[0]
      const start = next
      while (next < sorted.length && isBelow(sorted[next]?.[0], limit)) next++
      if (next === start) chunks.push(chunk)
      else chunks.push(...chunksOf(merge(chunk, sorted.slice(start, next))))
    }
    return new SortedMap(chunks)
  }

  /** What `after` has other than this one, by identity, in order of keys. */
  *differences(after: SortedMap<V>): Generator<Difference<V>> {
    const a = new Cursor(this.#chunks)
    const b = new Cursor(after.#chunks)
    for (;;) {
      if (a.offset === 0 && b.offset === 0 && a.chunk !== undefined && a.chunk === b.chunk) {
        a.skipChunk()
        b.skipChunk()
        continue
      }
      const { key: keyA, value: before } = a
      const { key: keyB, value: now } = b
      if (keyA === undefined && keyB === undefined) return
      if (keyB === undefined || (keyA !== undefined && keyA < keyB)) {
        yield { key: keyA ?? '', before, after: undefined }
        a.step()
      } else if (keyA === undefined || keyB < keyA) {
        yield { key: keyB, before: undefined, after: now }
        b.step()
      } else {
        if (before !== now) yield { key: keyA, before, after: now }
        a.step()
        b.step()
      }
    }
  }

  *entries(): MapIterator<[string, V]> {
    for (const { keys, values } of this.#chunks) {
      for (let i = 0; i < keys.length; i++) yield [keys[i] ?? '', values[i] as V]
    }
  }

  *keys(): MapIterator<string> {
    for (const { keys } of this.#chunks) yield* keys
  }

  *values(): MapIterator<V> {
    for (const { values } of this.#chunks) yield* values
  }

  [Symbol.iterator](): MapIterator<[string, V]> {
    return this.entries()
  }

  forEach(visit: (value: V, key: string, map: ReadonlyMap<string, V>) => void): void {
    for (const [key, value] of this) visit(value, key, this)
  }
}

/** A place in a list of chunks. */
class Cursor<V> {
  readonly #chunks: readonly Chunk<V>[]
  #index = 0
  offset = 0

  constructor(chunks: readonly Chunk<V>[]) {
    this.#chunks = chunks
  }

  get chunk(): Chunk<V> | undefined {
    return this.#chunks[this.#index]
  }

  get key(): string | undefined {
    return this.chunk?.keys[this.offset]
  }

  get value(): V | undefined {
    return this.chunk?.values[this.offset]
  }

  step(): void {
    this.offset++
    if (this.offset >= (this.chunk?.keys.length ?? 0)) this.skipChunk()
  }

  skipChunk(): void {
    this.#index++
    this.offset = 0
  }
}

/** The entries of a chunk with sorted changes made to them. */
function merge<V>(
  chunk: Chunk<V> | undefined,
  changes: readonly (readonly [string, V | undefined])[],
): Chunk<V> {
  const keys: string[] = []
  const values: V[] = []
  const push = (key: string, value: V | undefined): void => {
    if (value === undefined) return
    keys.push(key)
    values.push(value)
  }
  let at = 0
  for (const [key, value] of changes) {
    for (; isBelow(chunk?.keys[at], key); at++) push(chunk?.keys[at] ?? '', chunk?.values[at])
    if (chunk?.keys[at] === key) at++
    push(key, value)
  }
  for (; at < (chunk?.keys.length ?? 0); at++) push(chunk?.keys[at] ?? '', chunk?.values[at])
  return { keys, values }
}

/** As many chunks as it takes; none for no entries. */
function chunksOf<V>(entries: Chunk<V>): Chunk<V>[] {
  const { keys, values } = entries
  if (keys.length === 0) return []
  if (keys.length <= 2 * CHUNK) return [entries]
  const count = Math.floor(keys.length / CHUNK)
  return Array.from({ length: count }, (_, i) => {
    const start = Math.floor((i * keys.length) / count)
    const end = Math.floor(((i + 1) * keys.length) / count)
    return { keys: keys.slice(start, end), values: values.slice(start, end) }
  })
}

/** The chunk that has the key, if any has: the last that begins at it or below; else the first. */
function chunkIndex(chunks: readonly Chunk<unknown>[], key: string): number {
  let low = 0
  let high = chunks.length
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (isBelow(key, chunks[middle]?.keys[0])) high = middle
    else low = middle
  }
  return low
}

/** Index of the first key that is not below. */
function lowerBound(keys: readonly string[], key: string): number {
  let low = 0
  let high = keys.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (isBelow(keys[middle], key)) low = middle + 1
    else high = middle
  }
  return low
}

/** undefined as `key` is nothing, as `limit` no limit. */
function isBelow(key: string | undefined, limit: string | undefined): boolean {
  return key !== undefined && (limit === undefined || key < limit)
}
