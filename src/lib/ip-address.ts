/**
 * IP addresses and CIDR ranges as text and as bytes. Parsing is as lenient as kube-proxy's
 * (reference 1.1: IPv4 with leading zeros, surrounding blanks); printing is canonical (RFC 5952).
 */

export type IpFamily = 'IPv4' | 'IPv6'

/** A CIDR range: network address bytes (4 or 16, host bits zero) and prefix length. */
export interface IpRange {
  readonly family: IpFamily
  readonly bytes: Uint8Array
  readonly prefixLength: number
  /** Canonical text, `10.0.0.0/8`. */
  readonly text: string
}
