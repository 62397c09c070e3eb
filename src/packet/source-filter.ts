/**
 * Source filters: classic BPF programs for listening TCP and bound UDP sockets that let packets of
 * allowed sources in and drop all others without an answer. A dropped SYN is never answered, so
 * this is DROP without netfilter (and without the bpf() system call: SO_ATTACH_FILTER, socket(7)).
 *
 * The kernel runs such a filter with the data pointer at the transport header (tcp_filter in
 * net/ipv4/tcp_ipv4.c, udp_queue_rcv_one_skb in net/ipv4/udp.c), so the address is read through
 * SKF_NET_OFF, the offset of the network header (linux/filter.h).
 *
 * Shape of a program: one 32-bit word of the address is loaded and found in a sorted table by
 * binary search; where ranges are longer than the words seen so far, the same follows for the next
 * word. A packet costs about log2(ranges) comparisons; a connection keeps its listener's program.
 *
 *   ld saddr[0] -> jge 10.1.0.0 -> jge 10.0.0.0 -> drop | accept
 *                              \-> jge 10.2.0.0 -> ...
 *
 * Bound: BPF_MAXINSNS instructions, some 1,000 IPv4 ranges.
 */
import type { IpFamily, IpRange } from '../lib/ip-address.js'

/** linux/bpf_common.h */
export const BPF_MAXINSNS = 4096
/** struct sock_filter { __u16 code; __u8 jt; __u8 jf; __u32 k; } */
export const SOCK_FILTER_BYTES = 8

/** linux/filter.h: `-0x100000`, as the unsigned `k`. */
const SKF_NET_OFF = 0xfff00000
/** BPF_LD | BPF_W | BPF_ABS */
const LOAD_WORD = 0x20
/** BPF_JMP | BPF_JGE | BPF_K: unsigned A >= k */
const JUMP_IF_AT_LEAST = 0x35
/** BPF_JMP | BPF_JA */
const JUMP_ALWAYS = 0x05
/** BPF_RET | BPF_K: the number of bytes to keep */
const RETURN = 0x06
const KEEP_WHOLE_PACKET = 0xffffffff
const DROP_PACKET = 0
/** `jt` and `jf` are bytes. */
const MAX_SHORT_JUMP = 0xff

/** Where the source address stands in the network header: RFC 791 3.1, RFC 8200 3. */
const SOURCE_OFFSET: Readonly<Record<IpFamily, number>> = { IPv4: 12, IPv6: 8 }

interface Instruction {
  readonly code: number
  readonly k: number
  readonly jt: number
  readonly jf: number
}

/** What happens from `from` (inclusive, unsigned) up to the next segment: a verdict or more words. */
interface Segment {
  readonly from: number
  readonly then: 'accept' | 'drop' | readonly IpRange[]
}

/**
 * The program that accepts packets whose source is in one of `allowed`; ranges of the other family
 * match nothing. Equal input gives equal bytes, whatever the order of the ranges.
 * @param allowed 'all' (or a /0 among the ranges) gives an empty program: no filter; an empty list
 *   drops everything
 * @returns struct sock_filter[] in host byte order, or undefined when it would be longer than the
 *   kernel allows
 */
export function compileSourceFilter(
  allowed: 'all' | readonly IpRange[],
  family: IpFamily,
): Uint8Array | undefined {
  if (allowed === 'all') return new Uint8Array()
  const ranges = withoutContained(allowed.filter((range) => range.family === family))
  if (ranges[0]?.prefixLength === 0) return new Uint8Array()
  // Every range needs a comparison: no need to try.
  if (ranges.length >= BPF_MAXINSNS) return undefined
  const program = matchWord(ranges, 0, family)
  return program.length > BPF_MAXINSNS ? undefined : encode(program)
}

/** Sorted by address; a range inside another one is left out, so those that stay are disjoint. */
function withoutContained(ranges: readonly IpRange[]): IpRange[] {
  const sorted = [...ranges].sort(
    (a, b) => compareBytes(a.bytes, b.bytes) || a.prefixLength - b.prefixLength,
  )
  const kept: IpRange[] = []
  for (const range of sorted) {
    const last = kept.at(-1)
    if (last === undefined || !contains(last, range)) kept.push(range)
  }
  return kept
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  for (let word = 0; word * 4 < a.length; word++) {
    const difference = wordOf(a, word) - wordOf(b, word)
    if (difference !== 0) return difference
  }
  return 0
}

function contains(wide: IpRange, narrow: IpRange): boolean {
  if (wide.prefixLength > narrow.prefixLength) return false
  for (let word = 0; word * 32 < wide.prefixLength; word++) {
    const first = wordOf(wide.bytes, word)
    const value = wordOf(narrow.bytes, word)
    if (value < first || value >= first + spanOf(wide, word)) return false
  }
  return true
}

/** Instructions that decide by word `word`; the words before it equal those of every range. */
function matchWord(ranges: readonly IpRange[], word: number, family: IpFamily): Instruction[] {
  if (ranges.length === 0) return [statement(RETURN, DROP_PACKET)]
  const load = statement(LOAD_WORD, SKF_NET_OFF + SOURCE_OFFSET[family] + word * 4)
  return [load, ...search(segmentsOf(ranges, word), word, family)]
}

/** The number line of one word, beginning at 0, neighbours with the same verdict joined. */
function segmentsOf(ranges: readonly IpRange[], word: number): Segment[] {
  const segments: Segment[] = [{ from: 0, then: 'drop' }]
  const append = (from: number, then: Segment['then']): void => {
    while ((segments.at(-1)?.from ?? -1) >= from) segments.pop()
    if (segments.at(-1)?.then !== then) segments.push({ from, then })
  }
  for (let index = 0; index < ranges.length;) {
    const group = groupAt(ranges, index, word)
    const [first] = group
    const from = wordOf(first.bytes, word)
    const end = from + spanOf(first, word)
    append(from, first.prefixLength > (word + 1) * 32 ? group : 'accept')
    if (end <= 0xffffffff) append(end, 'drop')
    index += group.length
  }
  return segments
}

/** The ranges from `index` on that need the next word too and share this one; else just the one. */
function groupAt(
  ranges: readonly IpRange[],
  index: number,
  word: number,
): readonly [IpRange, ...IpRange[]] {
  const first = ranges[index]
  if (first === undefined) throw new RangeError(`no range at ${index}`)
  const rest: IpRange[] = []
  if (first.prefixLength > (word + 1) * 32) {
    for (const next of ranges.slice(index + 1)) {
      if (wordOf(next.bytes, word) !== wordOf(first.bytes, word)) break
      rest.push(next)
    }
  }
  return [first, ...rest]
}

/** Binary search over segments; the upper half stands behind the lower one. */
function search(segments: readonly Segment[], word: number, family: IpFamily): Instruction[] {
  const middle = segments.length >> 1
  const [pivot] = segments.slice(middle)
  if (pivot === undefined || segments.length === 1) return conclude(segments, word, family)
  const lower = search(segments.slice(0, middle), word, family)
  const upper = search(segments.slice(middle), word, family)
  const test = { code: JUMP_IF_AT_LEAST, k: pivot.from }
  if (lower.length <= MAX_SHORT_JUMP) {
    return [{ ...test, jt: lower.length, jf: 0 }, ...lower, ...upper]
  }
  const far = statement(JUMP_ALWAYS, lower.length)
  return [{ ...test, jt: 0, jf: 1 }, far, ...lower, ...upper]
}

function conclude(segments: readonly Segment[], word: number, family: IpFamily): Instruction[] {
  const then = segments[0]?.then ?? 'drop'
  if (then === 'accept') return [statement(RETURN, KEEP_WHOLE_PACKET)]
  if (then === 'drop') return [statement(RETURN, DROP_PACKET)]
  return matchWord(then, word + 1, family)
}

function statement(code: number, k: number): Instruction {
  return { code, k, jt: 0, jf: 0 }
}

/** How many values of word `word` a range covers, given that the words before it match. */
function spanOf(range: IpRange, word: number): number {
  return 2 ** Math.min(32, Math.max(0, (word + 1) * 32 - range.prefixLength))
}

function wordOf(bytes: Uint8Array, word: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(word * 4)
}

function encode(program: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(program.length * SOCK_FILTER_BYTES)
  const codes = new Uint16Array(bytes.buffer)
  const operands = new Uint32Array(bytes.buffer)
  program.forEach(({ code, k, jt, jf }, index) => {
    // Typed arrays of 16 and 32 bits write the byte order of the machine, which the kernel wants.
    codes[index * 4] = code
    bytes[index * SOCK_FILTER_BYTES + 2] = jt
    bytes[index * SOCK_FILTER_BYTES + 3] = jf
    operands[index * 2 + 1] = k
  })
  return bytes
}
