/**
 * Which bits of a connection's conntrack mark are ours, and what they say. Pure.
 *
 *   mask  0x3fffff00   0011 1111 1111 1111 1111 1111 0000 0000
 *                        MR ssss ssss ssss ssss ssss
 *
 *   M  masqueradeBit   the connection leaves with an address of this node
 *   R  rejectBit       the client is told that nobody is there
 *   s  slot            number of the endpoint in the map of endpoints; 0 is none
 *
 * All other bits belong to others and are never written.
 */

export interface MarkLayout {
  /** All our bits: one run of at least MIN_MARK_BITS. */
  readonly mask: number
  readonly masqueradeBit: number
  readonly rejectBit: number
  readonly slotMask: number
  /** Where slot numbers begin, counted from bit 0. */
  readonly slotShift: number
  /** Slot numbers are 1..maxSlot. */
  readonly maxSlot: number
}

/** Leaves the low byte and the two highest bits to others. */
export const DEFAULT_MARK_MASK = 0x3fffff00
/** Two flags and ten bits of slots. */
export const MIN_MARK_BITS = 12

/** The layout in a mask. Throws RangeError unless it is one run of at least MIN_MARK_BITS of 32 bits. */
export function markLayoutOf(mask: number): MarkLayout {
  if (!Number.isInteger(mask) || mask <= 0 || mask > 0xffffffff) {
    throw new RangeError(`a mark mask is 32 bits, not ${mask}`)
  }
  const text = mask.toString(2)
  const slotShift = text.length - 1 - text.lastIndexOf('1')
  const bits = text.length - slotShift
  if (!/^1+0*$/.test(text) || bits < MIN_MARK_BITS) {
    throw new RangeError(
      `a mark mask is one run of at least ${MIN_MARK_BITS} bits, 0x${mask.toString(16)} is not`,
    )
  }
  const top = text.length - 1
  const masqueradeBit = 2 ** top
  const rejectBit = 2 ** (top - 1)
  return {
    mask,
    masqueradeBit,
    rejectBit,
    slotMask: mask - masqueradeBit - rejectBit,
    slotShift,
    maxSlot: 2 ** (bits - 2) - 1,
  }
}

/** Our bits for a connection to the endpoint in a slot. Throws RangeError unless it is 1..maxSlot. */
export function markOf(
  layout: MarkLayout,
  slot: number,
  flags: { readonly masquerade: boolean },
): number {
  if (!Number.isInteger(slot) || slot < 1 || slot > layout.maxSlot) {
    throw new RangeError(`slot numbers are 1 to ${layout.maxSlot}, not ${slot}`)
  }
  return ((slot << layout.slotShift) | (flags.masquerade ? layout.masqueradeBit : 0)) >>> 0
}

/** The slot in a mark, whatever its other bits; 0 when there is none. */
export function slotOf(layout: MarkLayout, mark: number): number {
  return (mark & layout.slotMask) >>> layout.slotShift
}
