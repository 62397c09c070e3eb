/** The modes that answer the packet suite, and what a mode does differently everywhere. */
import type { IptablesTools } from './iptables-tools.js'

export interface SuiteMode {
  readonly flags: readonly string[]
  /** Which iptables it finds. */
  readonly tools?: IptablesTools
  /** Why the endpoint never sees the client's address: undefined where it does. */
  readonly hidesClient?: string
  /** Why no packets of SCTP are sent: undefined where they are. */
  readonly withoutSctp?: string
}

const RELAYED =
  'the relay connects to the endpoint from an address of the node; the tproxy capture keeps the client’s'

export const MODES = {
  'userspace-tproxy': { flags: ['--proxy-mode', 'userspace', '--userspace-capture', 'tproxy'] },
  'userspace-anyip': {
    flags: ['--proxy-mode', 'userspace', '--userspace-capture', 'anyip'],
    hidesClient: RELAYED,
  },
  'userspace-redirect': {
    flags: ['--proxy-mode', 'userspace', '--userspace-capture', 'redirect'],
    hidesClient: RELAYED,
  },
  nfqueue: { flags: ['--proxy-mode', 'nfqueue'] },
  // Slots and the standby are iptables rules there, as on a kernel whose nf_tables has no NAT.
  'nfqueue-iptables': { flags: ['--proxy-mode', 'nfqueue', '--nfqueue-dnat', 'iptables'] },
  'iptables-nft': { flags: ['--proxy-mode', 'iptables'], tools: 'nft' },
  'iptables-legacy': { flags: ['--proxy-mode', 'iptables'], tools: 'legacy' },
  nftables: { flags: ['--proxy-mode', 'nftables'] },
  // On a real ip_vs, in user-mode Linux.
  ipvs: {
    flags: ['--proxy-mode', 'ipvs'],
    withoutSctp: 'not yet tried in user-mode Linux',
  },
} as const satisfies Record<string, SuiteMode>

export type ModeName = keyof typeof MODES

export function modeOf(name: ModeName): SuiteMode {
  return MODES[name]
}
