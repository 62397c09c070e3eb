/** Canonical addresses into packed records, for tables of hundreds of thousands of them. */
import type { IpFamily } from './ip-address.js'

export const ADDRESS_BYTES: Readonly<Record<IpFamily, number>> = { IPv4: 4, IPv6: 16 }

const COLON = 0x3a
const DOT = 0x2e

/**
 * Writes the bytes of a canonical address (as parseIpAddress prints it) in network order. For
 * text of any other form what is written is undefined, but never outside of the address's bytes.
 */
export function writeAddress(
  target: Uint8Array,
  offset: number,
  canonical: string,
  family: IpFamily,
): void {
  if (family === 'IPv4') writeIpv4(target, offset, canonical)
  else writeIpv6(target, offset, canonical)
}

function writeIpv4(target: Uint8Array, offset: number, text: string): void {
  let position = offset
  let octet = 0
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code === DOT) {
      if (position < offset + 3) target[position++] = octet
      octet = 0
    } else {
      octet = octet * 10 + code - 0x30
    }
  }
  target[position] = octet
}

/** Groups before `::` stand at the front, those after it are moved to the end. */
function writeIpv6(target: Uint8Array, offset: number, text: string): void {
  const end = offset + 16
  target.fill(0, offset, end)
  let position = offset
  let gap = -1
  let group = 0
  let digits = 0
  const flush = (): void => {
    if (digits === 0 || position >= end) return
    target[position++] = group >> 8
    target[position++] = group & 0xff
    group = 0
    digits = 0
  }
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code === COLON) {
      flush()
      if (text.charCodeAt(index + 1) === COLON) gap = position
    } else {
      group = ((group << 4) | hexDigit(code)) & 0xffff
      digits++
    }
  }
  flush()
  if (gap < 0 || position === end) return
  target.copyWithin(end - (position - gap), gap, position)
  target.fill(0, gap, end - (position - gap))
}

/** Of `0`..`9` and `a`..`f`. */
function hexDigit(code: number): number {
  return code <= 0x39 ? code - 0x30 : code - 0x57
}
