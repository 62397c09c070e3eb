/**
 * How the traffic of a VIP reaches the relay's sockets. A capture owns kernel state (routes, sets,
 * rules) and nothing else; the sockets belong to listeners.ts.
 *
 *   anyip     every VIP is made a local address (`ip route add local VIP dev lo`); sockets bind to it
 *   tproxy    as anyip, and the relay dials with the client's own address (IP_TRANSPARENT); replies
 *             of the endpoints are diverted to the relay by `-m socket --transparent` and a mark
 *   redirect  nat REDIRECT (TCP, one listener) and DNAT (UDP, one socket a VIP)
 */
import type { CaptureName } from '../../config/run-config.js'
import type { IpFamily, IpRange } from '../../lib/ip-address.js'

/** What a new connection to a VIP meets. */
export type VipAction = 'balance' | 'reject' | 'drop'

export interface CapturedVip {
  readonly ipFamily: IpFamily
  readonly protocol: 'TCP' | 'UDP'
  /** Canonical. A node port appears once per node address. */
  readonly address: string
  readonly port: number
  readonly action: VipAction
  /** Whether `address` is one of the node's own (node ports): never routed, never removed. */
  readonly isNodeAddress: boolean
  /** Sources that may reach it; the others are dropped. */
  readonly allowedSources: 'all' | readonly IpRange[]
  /** Where redirect sends it: set for `balance`, by the sockets that are open already. */
  readonly listen: { readonly address: string; readonly port: number } | undefined
}

export interface CapturePlan {
  /** At most one per (protocol, address, port). */
  readonly vips: readonly CapturedVip[]
  /** Addresses of removed Services that still have connections: kept local, not listened on. */
  readonly drainingAddresses: readonly string[]
}

export interface Capture {
  readonly name: CaptureName
  /** Whether sockets bind to the VIP itself (anyip, tproxy) and filter sources themselves. */
  readonly bindsToVip: boolean
  /** Whether the relay may dial with the client's address. */
  readonly keepsClientAddress: boolean
  /**
   * Brings the kernel from what it has (of ours, whoever left it) to the plan; idempotent, and cheap
   * when nothing changed. Throws SluiceError; what was in force stays then, and the next call repairs.
   */
  sync(plan: CapturePlan): Promise<void>
  /** Removes everything of ours. Idempotent; never throws for what is already gone. */
  close(): Promise<void>
}
