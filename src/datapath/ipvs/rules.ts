/**
 * The iptables rules that remain in the ipvs mode: a number that does not grow with the Services,
 * but for those with externalTrafficPolicy Local (short-circuit.ts).
 *
 *   packet from elsewhere   nat PREROUTING  masquerade mark     -> filter INPUT    who may, what is dropped
 *                           -> IPVS (LOCAL_IN)                  -> nat POSTROUTING masquerade
 *   packet of the node      mangle OUTPUT   source ranges       -> nat OUTPUT      masquerade mark
 *                           -> IPVS (LOCAL_OUT)                 -> filter OUTPUT
 *                           -> nat POSTROUTING masquerade
 *
 * Source: kube-proxy pkg/proxy/ipvs/proxier.go (writeIptablesRules). Different here, so that every
 * Service behaves as in the iptables mode:
 * - node ports come after the VIPs: a cluster IP whose port is some node port is no node port;
 * - external IPs need no physdev match, which would load br_netfilter;
 * - KUBE-SLUICE-DROP, KUBE-SLUICE-LOCAL (sets.ts);
 * - source ranges hold for the node, too, from whichever of its addresses: in mangle, as in filter
 *   OUTPUT the destination is an endpoint already.
 */
import type { IpFamily } from '../../lib/ip-address.js'
import { comment, type IptablesChain, type IptablesHook } from '../../kernel/iptables.js'
import { setName } from '../../kernel/ipset.js'
import type { ShortCircuit } from './desired-state.js'
import { IPVS_SETS, type IpvsSetName } from './sets.js'
import { dispatchChain, LOCAL_CHAIN, portChains } from './short-circuit.js'

export interface RuleOptions {
  readonly family: IpFamily
  /** One bit. */
  readonly masqueradeMark: number
  readonly masqueradeAll: boolean
  /** What counts as a pod; undefined: nothing tells pods from others. */
  readonly podRange: string | undefined
  readonly shortCircuits: readonly ShortCircuit[]
}

/** Those that do not come from Services. */
export type FamilyRules = Omit<RuleOptions, 'family' | 'shortCircuits'>

const MASQ = '-j KUBE-MARK-MASQ'
const NEW = '-m conntrack --ctstate NEW'

/** In the order in which their jumps are put on top of the built-in chains. */
export function ipvsChains(options: RuleOptions): readonly IptablesChain[] {
  const match = matcher(options.family)
  const isOutOfRange =
    `${match('KUBE-LOAD-BALANCER-FW', 'dst,dst')} ` +
    `${match('KUBE-LOAD-BALANCER-SOURCE-CIDR', 'dst,dst,src', '! ')} ` +
    match('KUBE-LOAD-BALANCER-SOURCE-IP', 'dst,dst,src', '! ')
  return [
    chain('mangle', 'KUBE-SLUICE-SOURCE-RANGES', [`${NEW} ${isOutOfRange} -j DROP`], {
      hooks: ['OUTPUT'],
      comment: 'kube-sluice: source ranges for the node itself',
    }),
    ...natChains(options, match),
    dispatchChain(options.shortCircuits, [`${isOutOfRange} -j RETURN`]),
    ...portChains(options.shortCircuits, options.podRange),
    ...filterChains(options, match),
  ]
}

type Match = (set: IpvsSetName, directions: string, not?: '' | '! ') => string

function matcher(family: IpFamily): Match {
  return (set, directions, not = '') =>
    `${comment(IPVS_SETS[set][1])} -m set ${not}--match-set ${setName(set, family)} ${directions}`
}

function natChains(options: RuleOptions, match: Match): readonly IptablesChain[] {
  const mark = `0x${options.masqueradeMark.toString(16).padStart(8, '0')}`
  return [
    chain('nat', 'KUBE-MARK-MASQ', [`-j MARK --or-mark ${mark}`]),
    chain('nat', 'KUBE-LOAD-BALANCER', [
      `${match('KUBE-LOAD-BALANCER-LOCAL', 'dst,dst')} -j RETURN`,
      MASQ,
    ]),
    chain('nat', 'KUBE-NODE-PORT', nodePortRules(match)),
    chain('nat', 'KUBE-SERVICES', serviceRules(options, match), {
      hooks: ['OUTPUT', 'PREROUTING'],
      comment: 'kubernetes service portals',
    }),
    chain(
      'nat',
      'KUBE-POSTROUTING',
      [
        `${match('KUBE-LOOP-BACK', 'dst,dst,src')} -j MASQUERADE`,
        `-m mark ! --mark ${mark}/${mark} -j RETURN`,
        // Cleared: an encapsulated packet comes by once more and must not be masqueraded again.
        `-j MARK --xor-mark ${mark}`,
        `${comment('kubernetes service traffic requiring SNAT')} -j MASQUERADE --random-fully`,
      ],
      { hooks: ['POSTROUTING'], comment: 'kubernetes postrouting rules' },
    ),
  ]
}

function serviceRules({ family, masqueradeAll, podRange }: RuleOptions, match: Match): string[] {
  const fromPods = podRange === undefined ? undefined : `-s ${podRange}`
  const isLocalVip = match('KUBE-SLUICE-LOCAL', 'dst,dst')
  return [
    ...(family === 'IPv4' ? ['-s 127.0.0.0/8 -j RETURN'] : []),
    ...(fromPods === undefined ? [] : [`${fromPods} ${isLocalVip} -j ${LOCAL_CHAIN}`]),
    `-m addrtype --src-type LOCAL ${isLocalVip} -j ${LOCAL_CHAIN}`,
    `${match('KUBE-LOAD-BALANCER', 'dst,dst')} -j KUBE-LOAD-BALANCER`,
    clusterIpMasquerade(masqueradeAll, podRange, match),
    `${match('KUBE-EXTERNAL-IP', 'dst,dst')} ${MASQ}`,
    ...(
      [
        'KUBE-EXTERNAL-IP',
        'KUBE-EXTERNAL-IP-LOCAL',
        'KUBE-CLUSTER-IP',
        'KUBE-LOAD-BALANCER',
      ] as const
    ).map((set) => `${match(set, 'dst,dst')} -j ACCEPT`),
    '-m addrtype --dst-type LOCAL -j KUBE-NODE-PORT',
  ]
}

/** Without a detector only the node's own packets, whose source is the VIP, as it is local. */
function clusterIpMasquerade(
  masqueradeAll: boolean,
  podRange: string | undefined,
  match: Match,
): string {
  if (masqueradeAll) return `${match('KUBE-CLUSTER-IP', 'dst,dst')} ${MASQ}`
  if (podRange === undefined) return `${match('KUBE-CLUSTER-IP', 'src,dst')} ${MASQ}`
  return `${match('KUBE-CLUSTER-IP', 'dst,dst')} ! -s ${podRange} ${MASQ}`
}

function nodePortRules(match: Match): string[] {
  const rules: string[] = []
  for (const protocol of ['TCP', 'UDP'] as const) {
    const only = `-p ${protocol.toLowerCase()}`
    rules.push(
      `${only} ${match(`KUBE-NODE-PORT-LOCAL-${protocol}`, 'dst')} -j RETURN`,
      `${only} ${match(`KUBE-NODE-PORT-${protocol}`, 'dst')} ${MASQ}`,
    )
  }
  return [
    ...rules,
    `-p sctp ${match('KUBE-NODE-PORT-LOCAL-SCTP-HASH', 'dst,dst')} -j RETURN`,
    `-p sctp ${match('KUBE-NODE-PORT-SCTP-HASH', 'dst,dst')} ${MASQ}`,
  ]
}

function filterChains({ masqueradeMark }: RuleOptions, match: Match) {
  const mark = `0x${masqueradeMark.toString(16).padStart(8, '0')}`
  const drop = `${NEW} ${match('KUBE-SLUICE-DROP', 'dst,dst')} -j DROP`
  const returns = [
    'KUBE-LOAD-BALANCER',
    'KUBE-CLUSTER-IP',
    'KUBE-EXTERNAL-IP',
    'KUBE-EXTERNAL-IP-LOCAL',
  ] as const
  return [
    chain(
      'filter',
      'KUBE-FORWARD',
      [
        `${comment('kubernetes forwarding rules')} -m mark --mark ${mark}/${mark} -j ACCEPT`,
        `${comment('kubernetes forwarding conntrack rule')} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
      ],
      { hooks: ['FORWARD'], comment: 'kubernetes forwarding rules' },
    ),
    chain(
      'filter',
      'KUBE-NODE-PORT',
      [`-p tcp ${match('KUBE-HEALTH-CHECK-NODE-PORT', 'dst')} -j ACCEPT`],
      { hooks: ['INPUT'], comment: 'kubernetes health check rules' },
    ),
    chain('filter', 'KUBE-SOURCE-RANGES-FIREWALL', [
      `${match('KUBE-LOAD-BALANCER-SOURCE-CIDR', 'dst,dst,src')} -j RETURN`,
      `${match('KUBE-LOAD-BALANCER-SOURCE-IP', 'dst,dst,src')} -j RETURN`,
      '-j DROP',
    ]),
    chain(
      'filter',
      'KUBE-PROXY-FIREWALL',
      [`${match('KUBE-LOAD-BALANCER-FW', 'dst,dst')} -j KUBE-SOURCE-RANGES-FIREWALL`],
      { hooks: ['INPUT', 'FORWARD'], comment: 'kube-proxy firewall rules' },
    ),
    chain(
      'filter',
      'KUBE-IPVS-FILTER',
      [
        drop,
        ...returns.map((set) => `${match(set, 'dst,dst')} -j RETURN`),
        `-p tcp ${match('KUBE-HEALTH-CHECK-NODE-PORT', 'dst')} -j RETURN`,
        // What else listens on the node must not be reached at a VIP.
        `${NEW} ${match('KUBE-IPVS-IPS', 'dst')} -j REJECT`,
      ],
      { hooks: ['INPUT'], comment: 'kubernetes ipvs access filter' },
    ),
    chain('filter', 'KUBE-IPVS-OUT-FILTER', [drop], {
      hooks: ['OUTPUT'],
      comment: 'kubernetes ipvs access filter',
    }),
  ]
}

function chain(
  table: IptablesChain['table'],
  name: string,
  rules: readonly string[],
  {
    hooks,
    comment: text,
  }: { readonly hooks: readonly IptablesHook[]; readonly comment: string } = {
    hooks: [],
    comment: '',
  },
): IptablesChain {
  return { table, name, hooks, comment: text, rules }
}
