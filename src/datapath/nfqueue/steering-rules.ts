/**
 * The iptables rules that bring first packets to the queue and act on the answer. Pure; a constant
 * number of rules, whatever the number of Services. The path of a packet to a VIP:
 *
 *   mangle PREROUTING, OUTPUT    new, and to a VIP of the set: packet mark put away, NFQUEUE
 *   (the verdict)                packet mark = slot of an endpoint, or flags; or untouched
 *   nat    PREROUTING, OUTPUT    packet mark into the connection mark, packet mark as it was
 *   nat    the same, later       DNAT by the connection mark: the nftables table, or the chains of
 *                                iptables-endpoint-map.ts
 *   filter                       REJECT when the mark says so
 *   nat    POSTROUTING           MASQUERADE when the mark says so
 *   mangle INPUT, POSTROUTING    what refuses a connect (RST, ICMP error): NFQUEUE
 *
 * Steering sits in mangle because it comes before nat and sees the VIP; refusals are taken up in
 * INPUT and POSTROUTING because the client's own address is back in them there, while the endpoint
 * still stands in the source: no masquerade hides who is meant.
 *
 * Whose bits are whose. M is the mask of MarkLayout. Of the packet mark, M is somebody else's
 * (a CNI's) and only borrowed: while a packet is in the queue its own M bits wait in the M bits of
 * the connection mark, which are 0 in a connection that is not confirmed. The three rules of
 * KUBE-SLUICE-MARKS are the exchange of two registers by XOR: CONNMARK computes
 *   save:    ct   = (ct & ~ctmask) ^ (mark & nfmask)
 *   restore: mark = (mark & ~nfmask) ^ (ct & ctmask)        (net/netfilter/xt_connmark.c)
 * so with the clearing mask 0 each is an XOR, and no other bit is touched.
 *
 * Only what is not CONFIRMED is a first packet: a flow of datagrams that nobody answers stays NEW
 * for ever, and must not come up for each of them. A SYN that comes again is NEW and CONFIRMED.
 */
import type { IpFamily } from '../../lib/ip-address.js'
import { setName } from '../../kernel/ipset.js'
import { comment, type IptablesChain } from '../../kernel/iptables.js'
import type { MarkLayout } from '../../packet/mark-layout.js'

/** VIPs whose new connections are steered; hash:ip,port. */
export const STEERED_SET = 'KUBE-SLUICE-STEERED'

/** Without nftables: where slots become translations. Its rules are IptablesEndpointMap's. */
export const ENDPOINTS_CHAIN = 'KUBE-SLUICE-ENDPOINTS'

export interface SteeringRuleOptions {
  readonly layout: MarkLayout
  /** First packets go to `count` queues from `first` on, answers to the one after these. */
  readonly queues: { readonly first: number; readonly count: number }
  /** Whether an nftables table does DNAT, REJECT and MASQUERADE by mark; else rules here do. */
  readonly hasNftables: boolean
  /** IPv4 only: connections from loopback to node ports are let out (kube-proxy's route_localnet). */
  readonly guardsLoopback: boolean
}

/** Number of the queue that answers (repeated SYNs, refusals) go to. */
export function answersQueueOf({ first, count }: SteeringRuleOptions['queues']): number {
  return first + count
}

/** The chains of one family. */
export function steeringChains(options: SteeringRuleOptions, family: IpFamily): IptablesChain[] {
  return [
    steerChain(family),
    queueChain(options),
    answersChain(options, family),
    marksChain(options, family),
    filterChain(options),
    ...(options.guardsLoopback && family === 'IPv4' ? [LOOPBACK_GUARD] : []),
    ...(options.hasNftables ? [] : [masqueradeChain(options)]),
  ]
}

function steerChain(family: IpFamily): IptablesChain {
  return {
    table: 'mangle',
    name: 'KUBE-SLUICE-STEER',
    hooks: ['PREROUTING', 'OUTPUT'],
    comment: 'kube-sluice: new connections to Services',
    rules: [
      `-m conntrack --ctstate NEW ${match(family)}` +
        ` ${comment('kube-sluice: the daemon picks the endpoint')} -j KUBE-SLUICE-QUEUE`,
    ],
  }
}

function queueChain({ layout, queues }: SteeringRuleOptions): IptablesChain {
  const all = hex(layout.mask)
  const isFirst = '-m conntrack ! --ctstatus CONFIRMED'
  return {
    table: 'mangle',
    name: 'KUBE-SLUICE-QUEUE',
    hooks: [],
    comment: '',
    rules: [
      `${isFirst} -m mark ! --mark 0x0/${all}` +
        ` ${comment('kube-sluice: put the own mark of the packet away')}` +
        ` -j CONNMARK --save-mark --nfmask ${all} --ctmask ${all}`,
      `${isFirst} -m mark ! --mark 0x0/${all} -j MARK --set-xmark 0x0/${all}`,
      `${isFirst} ${comment('kube-sluice: first packet')} -j NFQUEUE ${balance(queues)} --queue-bypass`,
      `-p tcp -m connmark ! --mark 0x0/${hex(layout.slotMask)}` +
        ` ${comment('kube-sluice: SYN that nobody has answered')}` +
        ` -j NFQUEUE --queue-num ${answersQueueOf(queues)} --queue-bypass`,
    ],
  }
}

function answersChain({ layout, queues }: SteeringRuleOptions, family: IpFamily): IptablesChain {
  const isSteered = `-m connmark ! --mark 0x0/${hex(layout.slotMask)}`
  const isUnestablished = '-m conntrack --ctdir REPLY ! --ctstatus ASSURED'
  const toQueue = `-j NFQUEUE --queue-num ${answersQueueOf(queues)} --queue-bypass`
  const icmp = family === 'IPv4' ? 'icmp' : 'ipv6-icmp'
  return {
    table: 'mangle',
    name: 'KUBE-SLUICE-ANSWERS',
    hooks: ['INPUT', 'POSTROUTING'],
    comment: 'kube-sluice: refused connects',
    rules: [
      `-p tcp -m tcp --tcp-flags RST RST ${isSteered} ${isUnestablished}` +
        ` ${comment('kube-sluice: an endpoint refuses')} ${toQueue}`,
      `-p ${icmp} ${isSteered} -m conntrack --ctstate RELATED --ctdir REPLY ! --ctstatus ASSURED` +
        ` ${comment('kube-sluice: an endpoint cannot be reached')} ${toQueue}`,
    ],
  }
}

function marksChain({ layout, hasNftables }: SteeringRuleOptions, family: IpFamily): IptablesChain {
  const all = hex(layout.mask)
  const exchange = [
    `CONNMARK --save-mark --nfmask ${all} --ctmask 0x0`,
    `CONNMARK --restore-mark --nfmask 0x0 --ctmask ${all}`,
    `CONNMARK --save-mark --nfmask ${all} --ctmask 0x0`,
  ]
  const note = comment('kube-sluice: verdict into the connection mark, own mark back')
  return {
    table: 'nat',
    name: 'KUBE-SLUICE-MARKS',
    hooks: ['PREROUTING', 'OUTPUT'],
    comment: 'kube-sluice: what the daemon has decided',
    rules: [
      ...exchange.map((target) => `${match(family)} ${note} -j ${target}`),
      ...(hasNftables
        ? []
        : [
            `-m connmark ! --mark 0x0/${hex(layout.slotMask)}` +
              ` ${comment('kube-sluice: to the endpoint')} -j ${ENDPOINTS_CHAIN}`,
          ]),
    ],
  }
}

/**
 * Under a FORWARD policy of DROP node ports must work nevertheless (reference 1.4, rule 5): what is
 * masqueraded passes, and so do the later packets of what was steered.
 */
function filterChain({ layout, hasNftables }: SteeringRuleOptions): IptablesChain {
  const masquerade = hex(layout.masqueradeBit)
  const reject = hex(layout.rejectBit)
  const isSteered = `-m connmark ! --mark 0x0/${hex(layout.slotMask)}`
  const isRejected = `-m conntrack --ctstate NEW -m connmark --mark ${reject}/${reject}`
  return {
    table: 'filter',
    name: 'KUBE-SLUICE-FORWARD',
    hooks: ['FORWARD', ...(hasNftables ? [] : (['INPUT', 'OUTPUT'] as const))],
    comment: 'kube-sluice: connections to Services',
    rules: [
      ...(hasNftables
        ? []
        : [`${isRejected} ${comment('kube-sluice: the Service has no endpoints')} -j REJECT`]),
      `-m connmark --mark ${masquerade}/${masquerade}` +
        ` ${comment('kube-sluice: masqueraded')} -j ACCEPT`,
      `${isSteered} -m conntrack --ctstate RELATED,ESTABLISHED` +
        ` ${comment('kube-sluice: steered')} -j ACCEPT`,
    ],
  }
}

/** Nobody but this node itself may use its loopback addresses (kubernetes issue 90259). */
const LOOPBACK_GUARD: IptablesChain = {
  table: 'filter',
  name: 'KUBE-SLUICE-LOOPBACK',
  hooks: ['INPUT', 'OUTPUT'],
  comment: 'kube-sluice: loopback stays local',
  rules: [
    '! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT' +
      ` ${comment('kube-sluice: incoming connections to loopback')} -j DROP`,
  ],
}

function masqueradeChain({ layout }: SteeringRuleOptions): IptablesChain {
  const bit = hex(layout.masqueradeBit)
  return {
    table: 'nat',
    name: 'KUBE-SLUICE-MASQUERADE',
    hooks: ['POSTROUTING'],
    comment: 'kube-sluice: replies must come back here',
    rules: [
      `-m connmark --mark ${bit}/${bit} ${comment('kube-sluice: masquerade')}` +
        ' -j MASQUERADE --random-fully',
    ],
  }
}

function balance({ first, count }: SteeringRuleOptions['queues']): string {
  return count === 1 ? `--queue-num ${first}` : `--queue-balance ${first}:${first + count - 1}`
}

function match(family: IpFamily): string {
  return `-m set --match-set ${setName(STEERED_SET, family)} dst,dst`
}

/** As iptables-save prints it. */
function hex(value: number): string {
  return `0x${value.toString(16)}`
}
