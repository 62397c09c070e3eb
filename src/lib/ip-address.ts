/**
 * IP addresses and CIDR ranges as text and as bytes. Parsing is as lenient as kube-proxy's
 * (netutils.ParseIPSloppy: IPv4 with leading zeros; here surrounding blanks too); printing is
 * canonical (RFC 5952). An address is handed around as its canonical text, so that equal addresses
 * are equal strings; an IPv4-mapped IPv6 address is the IPv4 address, as Go's net.IP prints it.
 * Zone ids (`fe80::1%eth0`) are not addresses here: no Service field may hold one.
 */
import ipaddr from 'ipaddr.js'

export type IpFamily = 'IPv4' | 'IPv6'

/** A CIDR range: network address bytes (4 or 16, host bits zero) and prefix length. */
export interface IpRange {
  readonly family: IpFamily
  readonly bytes: Uint8Array
  readonly prefixLength: number
  /** Canonical text, `10.0.0.0/8`. */
  readonly text: string
}

/** The usual form of an endpoint's address; spares it the way through bytes and back. */
const CANONICAL_IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/
const DOTTED_QUAD = /^(\d+)\.(\d+)\.(\d+)\.(\d+)$/
const DOTTED_TAIL = /^([0-9a-f:]*:)([\d.]+)$/i
/** Longer text cannot be an address; keeps garbage away from the expressions above. */
const MAX_TEXT_LENGTH = 64

/** The canonical text of an address, or undefined when the text is none. Never throws. */
export function parseIpAddress(text: string): string | undefined {
  if (CANONICAL_IPV4.test(text)) return text
  const bytes = parseBytes(text.trim())
  return bytes === undefined ? undefined : printAddress(unmapped(bytes))
}

/** The family of an address that parseIpAddress returned. */
export function familyOf(canonical: string): IpFamily {
  return canonical.includes(':') ? 'IPv6' : 'IPv4'
}

/** The 4 or 16 bytes of an address in network order. Throws RangeError when the text is none. */
export function addressBytes(ip: string): Uint8Array {
  const bytes = parseBytes(ip)
  if (bytes === undefined) throw new RangeError(`not an IP address: ${ip}`)
  return bytes
}

/**
 * A CIDR range with its host bits zeroed, or undefined when the text is none. Never throws.
 * An IPv4-mapped range of at least /96 is the IPv4 range, as Go's net.IPNet prints it.
 */
export function parseIpRange(text: string): IpRange | undefined {
  const [addressText, prefixText, ...rest] = text.trim().split('/', 3)
  if (addressText === undefined || prefixText === undefined || rest.length > 0) return undefined
  const bytes = parseBytes(addressText)
  if (bytes === undefined || !/^\d{1,8}$/.test(prefixText)) return undefined
  const prefixLength = Number(prefixText)
  if (prefixLength > bytes.length * 8) return undefined
  clearHostBits(bytes, prefixLength)
  const network = prefixLength >= 96 ? unmapped(bytes) : bytes
  return makeRange(network, prefixLength - (bytes.length - network.length) * 8)
}

/** The range that holds just this address (/32 or /128). Throws RangeError unless `ip` is canonical. */
export function hostRange(ip: string): IpRange {
  const bytes = addressBytes(ip)
  return makeRange(bytes, bytes.length * 8)
}

/** Whether a canonical address is in the range; false for one of the other family. */
export function rangeContains(range: IpRange, ip: string): boolean {
  if (familyOf(ip) !== range.family) return false
  const bytes = parseBytes(ip)
  return bytes !== undefined && hasPrefix(bytes, range.bytes, range.prefixLength)
}

/**
 * The addresses that are in some range of `a` and in some range of `b`, without repetition, in the
 * order of `a`. Two CIDR ranges are nested or disjoint, so each pair gives its narrower one or none.
 */
export function intersectRanges(a: readonly IpRange[], b: readonly IpRange[]): IpRange[] {
  const found = new Map<string, IpRange>()
  for (const left of a) {
    for (const right of b) {
      const [wide, narrow] = left.prefixLength <= right.prefixLength ? [left, right] : [right, left]
      if (isWithin(narrow, wide)) found.set(narrow.text, narrow)
    }
  }
  const candidates = [...found.values()]
  return candidates.filter(
    (range) => !candidates.some((other) => other !== range && isWithin(range, other)),
  )
}

/** `1.2.3.4:80`, `[::1]:80`: the form of Go's net.JoinHostPort. */
export function formatAddress(ip: string, port: number): string {
  return familyOf(ip) === 'IPv6' ? `[${ip}]:${port}` : `${ip}:${port}`
}

/** What formatAddress has put together. */
export function splitAddress(text: string): { readonly ip: string; readonly port: number } {
  const end = text.lastIndexOf(':')
  return { ip: text.slice(0, end).replace(/^\[|\]$/g, ''), port: Number(text.slice(end + 1)) }
}

/** 4 or 16 bytes in network order, or undefined; an IPv4-mapped address has 16. */
function parseBytes(text: string): Uint8Array | undefined {
  if (text.length > MAX_TEXT_LENGTH) return undefined
  if (!text.includes(':')) return parseDottedQuad(text)
  const plain = withoutDottedTail(text)
  // isValid accepts a zone id; no canonical address has one
  if (plain === undefined || plain.includes('%') || !ipaddr.IPv6.isValid(plain)) return undefined
  return Uint8Array.from(ipaddr.IPv6.parse(plain).toByteArray())
}

/** Decimal whatever the zeros say: ipaddr.js would read `010` as octal, and `1.2` as an address. */
function parseDottedQuad(text: string): Uint8Array | undefined {
  const match = DOTTED_QUAD.exec(text)
  if (match === null) return undefined
  const octets = match.slice(1).map(Number)
  return octets.every((octet) => octet <= 255) ? Uint8Array.from(octets) : undefined
}

/**
 * `::ffff:1.2.3.4` as `::ffff:102:304`. Done here because ipaddr.js takes `::1.2.3.4` for the
 * mapped address and reads leading zeros as octal.
 */
function withoutDottedTail(text: string): string | undefined {
  const match = DOTTED_TAIL.exec(text)
  if (match?.[1] === undefined || !match[2]?.includes('.')) return text
  const quad = parseDottedQuad(match[2])
  if (quad === undefined) return undefined
  const hex = Buffer.from(quad).toString('hex')
  return `${match[1]}${hex.slice(0, 4)}:${hex.slice(4)}`
}

/** The last four bytes of an IPv4-mapped address (::ffff:0:0/96); other bytes as they are. */
function unmapped(bytes: Uint8Array): Uint8Array {
  const isMapped =
    bytes.length === 16 &&
    bytes.subarray(0, 10).every((byte) => byte === 0) &&
    bytes[10] === 0xff &&
    bytes[11] === 0xff
  return isMapped ? bytes.subarray(12) : bytes
}

/** The canonical text of 4 or 16 bytes in network order. */
export function printAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.')
  return (ipaddr.fromByteArray([...bytes]) as ipaddr.IPv6).toRFC5952String()
}

function makeRange(bytes: Uint8Array, prefixLength: number): IpRange {
  return {
    family: bytes.length === 4 ? 'IPv4' : 'IPv6',
    bytes,
    prefixLength,
    text: `${printAddress(bytes)}/${prefixLength}`,
  }
}

function clearHostBits(bytes: Uint8Array, prefixLength: number): void {
  for (let index = 0; index < bytes.length; index++) {
    const bits = Math.min(8, Math.max(0, prefixLength - index * 8))
    bytes[index] = (bytes[index] ?? 0) & (0xff00 >> bits) & 0xff
  }
}

function isWithin(narrow: IpRange, wide: IpRange): boolean {
  return (
    narrow.family === wide.family &&
    narrow.prefixLength >= wide.prefixLength &&
    hasPrefix(narrow.bytes, wide.bytes, wide.prefixLength)
  )
}

function hasPrefix(bytes: Uint8Array, prefix: Uint8Array, prefixLength: number): boolean {
  const whole = prefixLength >> 3
  for (let index = 0; index < whole; index++) {
    if (bytes[index] !== prefix[index]) return false
  }
  const rest = prefixLength & 7
  if (rest === 0) return true
  return (((bytes[whole] ?? 0) ^ (prefix[whole] ?? 0)) & (0xff00 >> rest) & 0xff) === 0
}
