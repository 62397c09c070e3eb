/**
 * Session affinity in the flat layout: one map for all Service ports, client and VIP -> endpoint,
 * whose entries expire by themselves.
 *
 *   nat-*       hash chains       a client that is in the map goes where it went before,
 *                                 any other where the hash of its address leads
 *   affinity-*  after nat         puts each new connection's endpoint into the map, or renews the
 *                                 time-out of the entry that is there
 *
 * The first choice depends on the address alone, so all VIPs of a Service port agree on it. Entries
 * that lead to an endpoint that has gone are deleted by the program (affinity-clients.ts).
 *
 * IPv6 has the hash only. nft 1.0.6 ends with a failed assertion (netlink_gen_expr: dreg < reg_low) on a
 * rule that adds to a map whose key is wider than 16 bytes, whatever the data, and on data wider than
 * that beside any key; it can add to a set of wide keys, and look up in a map of them. The kernel has
 * room: client, VIP, protocol and port are 40 bytes, endpoint and port 20, and a rule has registers
 * of 64. So the three rules of each affinity-* chain would have to be made over netlink
 * (payload and ct expressions, then dynset with key, data and time-out), in the transaction that
 * makes the table, and to be recognised by who lists them.
 */
import type { IpFamily } from '../../lib/ip-address.js'
import { AFFINITY_CHAINS, AFFINITY_TIMEOUTS } from './affinity-timeouts.js'
import { block } from './block.js'

export const AFFINITY_MAP = 'affinity-clients'
/** After DNAT (-99). */
const PRIORITY = -90
const PROTOCOLS = ['tcp', 'udp', 'sctp'] as const
const ORIGINAL = 'ct original ip daddr . meta l4proto . ct original proto-dst'

export function affinityMap(family: IpFamily, size: number): string[] {
  if (family === 'IPv6') return []
  return block(`map ${AFFINITY_MAP}`, 'client and VIP -> endpoint of its last connection', [
    'typeof ip saddr . ip daddr . meta l4proto . th dport : ip daddr . th dport',
    'flags timeout, dynamic',
    `size ${size}`,
  ])
}

/** In front of a draw by the source: where the client went before. */
export function rememberedEndpoint(family: IpFamily): string[] {
  if (family === 'IPv6') return []
  return [`dnat ip to ip saddr . ip daddr . meta l4proto . th dport map @${AFFINITY_MAP}`]
}

export function affinityBlocks(family: IpFamily): string[] {
  if (family === 'IPv6') return []
  const chains = AFFINITY_TIMEOUTS.flatMap((seconds, index) =>
    block(
      `chain ${AFFINITY_CHAINS[index] ?? ''}`,
      `remember the client for ${seconds} s`,
      // The port of the original direction has a type only once the protocol is known.
      PROTOCOLS.map(
        (protocol) =>
          `meta l4proto ${protocol} update @${AFFINITY_MAP} { ip saddr . ${ORIGINAL} timeout ${seconds}s : ip daddr . th dport }`,
      ),
    ),
  )
  const remember = PROTOCOLS.flatMap((protocol) => [
    `meta l4proto ${protocol} ${ORIGINAL} vmap @vip-timeouts`,
    `meta l4proto ${protocol} meta l4proto . ct original proto-dst vmap @nodeport-timeouts`,
  ])
  return [
    ...chains,
    ...block('chain affinity', 'new connections to VIPs with session affinity', remember),
    ...(['prerouting', 'output'] as const).flatMap((hook) =>
      block(`chain affinity-${hook}`, 'session affinity, after DNAT', [
        `type filter hook ${hook} priority ${PRIORITY}; policy accept;`,
        'ct state new ct status dnat jump affinity',
      ]),
    ),
  ]
}
