/** What the rules depend on besides Services and endpoints. */
import type { IpFamily } from '../../lib/ip-address.js'

export interface RuleOptions {
  readonly family: IpFamily
  /** Bit (0..31) of the packet mark that says "masquerade", as kube-proxy's --iptables-masquerade-bit. */
  readonly masqueradeBit: number
  readonly masqueradeAll: boolean
  /**
   * The local detector as a match for pods, and for everything else, e.g. `-s 10.244.0.0/16` and
   * `! -s 10.244.0.0/16`; undefined without one.
   */
  readonly pods: { readonly match: string; readonly noMatch: string } | undefined
  /** Addresses that serve node ports; `all`: every local one. */
  readonly nodePortAddresses: 'all' | readonly string[]
  /** IPv4: whether node ports are served on loopback addresses too. */
  readonly localhostNodePorts: boolean
  /** This node's addresses: for source ranges that let it in. */
  readonly nodeIps: readonly string[]
  /** Whether MASQUERADE may be told --random-fully (iptables 1.6.2 and later). */
  readonly randomFully: boolean
  /** net.netfilter.nf_conntrack_tcp_be_liberal: what connection tracking calls invalid may pass then. */
  readonly passesInvalid: boolean
  /** Rules of endpoints without their comments: less text for a large cluster. */
  readonly isLarge: boolean
}

/** The mark of what is to be masqueraded, as kube-proxy prints it (Go's %#08x). */
export function masqueradeMark({ masqueradeBit }: Pick<RuleOptions, 'masqueradeBit'>): string {
  return `0x${(2 ** masqueradeBit).toString(16).padStart(8, '0')}`
}
