/**
 * The rules that are there whatever the Services, and the jumps from the built-in chains. The same as
 * kube-proxy's, in its order (reference 3.1): who looks for them finds them.
 */
import type { IptablesHook, IptablesTable } from '../../kernel/iptables.js'
import { masqueradeMark, type RuleOptions } from './rule-options.js'

export interface BaseChain {
  readonly table: 'nat' | 'filter'
  readonly name: string
  readonly rules: readonly string[]
}

export interface BaseJump {
  readonly table: IptablesTable
  readonly hook: IptablesHook
  /** All of the rule. */
  readonly rule: string
}

/** Shared with the kubelet: added to, never flushed, never removed. */
export const KUBELET_CHAIN = 'KUBE-FIREWALL'

/**
 * Counts packets to node ports on loopback addresses: those of the node itself, past nat, so that the
 * masquerade mark and what connection tracking remembers tell of them, whatever their number of ports.
 */
export const LOOPBACK_COUNTER = 'KUBE-SLUICE-LOCALHOST'

/** Emptied by whoever flushes a table: its rule says that the table is as we left it. */
export const CANARY_CHAIN = 'KUBE-PROXY-CANARY'
export const CANARY_TABLES: readonly IptablesTable[] = ['mangle', 'nat', 'filter']
export const CANARY_RULE =
  '-m comment --comment "kube-sluice: shows that nobody has flushed this table"'

/** The canary chains, as text for a restore. */
export function canaryText(): string {
  return CANARY_TABLES.map(
    (table) => `*${table}\n:${CANARY_CHAIN} - [0:0]\n-A ${CANARY_CHAIN} ${CANARY_RULE}\nCOMMIT\n`,
  ).join('')
}

/** Chains that hold no rules of Service ports. */
export function baseChains(options: RuleOptions): readonly BaseChain[] {
  const mark = masqueradeMark(options)
  const masquerade =
    '-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE' +
    (options.randomFully ? ' --random-fully' : '')
  const invalid = '-m conntrack --ctstate INVALID -j DROP'
  return [
    {
      table: 'filter',
      name: 'KUBE-FORWARD',
      rules: [
        ...(options.passesInvalid ? [] : [invalid]),
        `-m comment --comment "kubernetes forwarding rules" -m mark --mark ${mark}/${mark} -j ACCEPT`,
        '-m comment --comment "kubernetes forwarding conntrack rule"' +
          ' -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
      ],
    },
    {
      table: 'nat',
      name: 'KUBE-POSTROUTING',
      rules: [
        `-m mark ! --mark ${mark}/${mark} -j RETURN`,
        // Off again before masquerading: encapsulated, the packet comes by here once more.
        `-j MARK --xor-mark ${mark}`,
        masquerade,
      ],
    },
    { table: 'nat', name: 'KUBE-MARK-MASQ', rules: [`-j MARK --or-mark ${mark}`] },
    ...(servesLoopback(options)
      ? [
          {
            table: 'filter' as const,
            name: LOOPBACK_COUNTER,
            rules: [
              '-m comment --comment "counts packets to node ports on loopback addresses"' +
                ` -m mark --mark ${mark}/${mark}` +
                ' -m conntrack --ctstate DNAT --ctorigdst 127.0.0.0/8',
            ],
          },
        ]
      : []),
  ]
}

/** The way from KUBE-SERVICES to node ports: last there, Service addresses come first. */
export function nodePortJumps(options: RuleOptions): readonly string[] {
  const note =
    '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain"'
  if (options.nodePortAddresses !== 'all') {
    return options.nodePortAddresses.map((ip) => `${note} -d ${ip} -j KUBE-NODEPORTS`)
  }
  const loopback = options.family === 'IPv4' ? '127.0.0.0/8' : '::1/128'
  const except = servesLoopback(options) ? '' : ` ! -d ${loopback}`
  return [`${note} -m addrtype --dst-type LOCAL${except} -j KUBE-NODEPORTS`]
}

function servesLoopback({ family, localhostNodePorts }: RuleOptions): boolean {
  return family === 'IPv4' && localhostNodePorts
}

/** Nobody but this node itself may use its loopback addresses (kubernetes issue 90259). */
export function loopbackGuard(options: RuleOptions): string | undefined {
  if (!servesLoopback(options)) return undefined
  return (
    '-m comment --comment "block incoming localnet connections" -d 127.0.0.0/8 ! -s 127.0.0.0/8' +
    ' -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP'
  )
}

/** In the order in which they are put at the top of their chain: the last one ends up first. */
export function baseJumps(options: RuleOptions): readonly BaseJump[] {
  const isNew = '-m conntrack --ctstate NEW'
  const jump = (
    table: IptablesTable,
    hook: IptablesHook,
    [match, target]: readonly [string, string],
    note: string,
  ): BaseJump => {
    const words = [match, note === '' ? '' : `-m comment --comment "${note}"`, `-j ${target}`]
    return { table, hook, rule: words.filter((word) => word !== '').join(' ') }
  }
  const visible = 'kubernetes externally-visible service portals'
  const portals = 'kubernetes service portals'
  const guards: BaseJump[] = (['INPUT', 'OUTPUT'] as const).map((hook) =>
    jump('filter', hook, ['', KUBELET_CHAIN], ''),
  )
  const counter = 'kube-sluice: node ports on loopback addresses'
  return [
    ...(servesLoopback(options)
      ? [jump('filter', 'OUTPUT', [isNew, LOOPBACK_COUNTER], counter)]
      : []),
    jump('filter', 'INPUT', [isNew, 'KUBE-EXTERNAL-SERVICES'], visible),
    jump('filter', 'FORWARD', [isNew, 'KUBE-EXTERNAL-SERVICES'], visible),
    jump('filter', 'INPUT', ['', 'KUBE-NODEPORTS'], 'kubernetes health check service ports'),
    jump('filter', 'FORWARD', [isNew, 'KUBE-SERVICES'], portals),
    jump('filter', 'OUTPUT', [isNew, 'KUBE-SERVICES'], portals),
    jump('filter', 'FORWARD', ['', 'KUBE-FORWARD'], 'kubernetes forwarding rules'),
    ...(['INPUT', 'OUTPUT', 'FORWARD'] as const).map((hook) =>
      jump('filter', hook, [isNew, 'KUBE-PROXY-FIREWALL'], 'kubernetes load balancer firewall'),
    ),
    jump('nat', 'OUTPUT', ['', 'KUBE-SERVICES'], portals),
    jump('nat', 'PREROUTING', ['', 'KUBE-SERVICES'], portals),
    jump('nat', 'POSTROUTING', ['', 'KUBE-POSTROUTING'], 'kubernetes postrouting rules'),
    ...(loopbackGuard(options) === undefined ? [] : guards),
  ]
}
