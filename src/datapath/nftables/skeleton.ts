/**
 * The rules of the flat layout: nft text with a constant number of chains, rules, sets and maps,
 * whatever the number of Services. Elements come separately (layout.ts).
 *
 *   packet of a new connection                                          priority
 *   prerouting, output   guard-*      drops what policy keeps out       -110, mangle (-150) before
 *   prerouting, output   nat-*        steered: endpoint of its slot     -99, iptables' nat (-100) before
 *                                     else: VIP -> kind -> class -> slot -> endpoint
 *   prerouting, output   affinity-*   remembers the client's endpoint (IPv4)  -90
 *   input, forward, output  filter-*  rejects what has no endpoint      0
 *   postrouting          nat-postrouting  masquerade                    100
 *
 * A connection that is steered (slot number in its conntrack mark) takes the first rule of
 * `services`; without a mark, or when its slot is gone, the rules below it serve it: the standby.
 */
import { createHash } from 'node:crypto'

import { nftFamily, tableRemovalText } from '../../kernel/nft-table.js'
import type { IpFamily, IpRange } from '../../lib/ip-address.js'
import type { MarkLayout } from '../../packet/mark-layout.js'
import { affinityBlocks, affinityMap, rememberedEndpoint } from './affinity-rules.js'
import { block, ipOf } from './block.js'
import {
  drawChains,
  SET_NAMES,
  specOf,
  TABLE,
  type Door,
  type Field,
  type SetSpec,
} from './tables.js'

export interface SkeletonOptions {
  readonly family: IpFamily
  readonly marks: MarkLayout
  readonly masqueradeAll: boolean
  /** Sources that count as pods; undefined without a local detector. */
  readonly podRange: IpRange | undefined
  /** Whether node ports are served at every local address, or at those of a set. */
  readonly nodePortsAtAll: boolean
  /** Whether IPv4 loopback serves node ports (needs the sysctl route_localnet). */
  readonly localhostNodePorts: boolean
  /** Size of the map of clients with session affinity. */
  readonly affinityMaxClients: number
  /** Whether packets that connection tracking calls invalid are not forwarded. */
  readonly dropsInvalid: boolean
  /** Elements that the two maps with one for each endpoint hold at most; 0: they grow by themselves. */
  readonly room: number
}

/** After mangle (-150), where connections are steered, and before DNAT. */
const PRIORITY_GUARD = -110
/** After the nat table of iptables (-100): DNAT rules of others come first. */
const PRIORITY_DNAT = -99
const PRIORITY_FILTER = 0
const PRIORITY_SNAT = 100
/** Of the n-th draw of a hash chain: the seeds are constants, so a client keeps its slot. */
const HASH_SEED = 0x6b730001

/**
 * The text for `nft -f` that makes the table anew, with empty sets: elements follow in the same
 * transaction. A table cannot be changed in place by text, because nft 1.0.6 does not accept a rule
 * with a map whose types it has read from the kernel; so a table whose SKELETON_CHAIN tells the same
 * version is left as it is, and only its elements are replaced.
 */
export function skeletonText(options: SkeletonOptions): string {
  const name = tableName(options.family)
  return [
    removalText(options.family) + `table ${name} {`,
    '  comment "kube-sluice: connections to Services"',
    ...block(`chain ${SKELETON_CHAIN}`, versionOf(options), []),
    ...bodyOf(options),
    '}',
    '',
  ].join('\n')
}

/**
 * Whether what `nft list chains` prints is of a table made from such a text, with room for that many
 * endpoints: one with another room than the text's serves as well.
 */
export function isMadeFrom(listed: string, skeleton: string, endpoints: number): boolean {
  const [, made, room] = VERSION_COMMENT.exec(listed) ?? []
  const [, wanted] = VERSION_COMMENT.exec(skeleton) ?? []
  return made !== undefined && made === wanted && Number(room ?? Infinity) >= endpoints
}

/** Rules in a table that was made from this text: each is a line of its own in the block of a chain. */
export function ruleCount(skeleton: string): number {
  const chains = skeleton.match(/^ {2}chain [^]*?^ {2}\}/gm) ?? []
  return chains
    .flatMap((chain) => chain.split('\n').slice(1, -1))
    .filter((line) => !/^ {4}(comment|type) /.test(line)).length
}

/** An empty chain; its comment is a hash of everything else, and the room. */
const SKELETON_CHAIN = 'skeleton'
const VERSION_COMMENT = /comment "version ([0-9a-f]{16})(?:, room for (\d+))?"/

function versionOf(options: SkeletonOptions): string {
  const body = bodyOf({ ...options, room: 0 }).join('\n')
  const hash = createHash('sha256').update(body).digest('hex').slice(0, 16)
  return `version ${hash}${options.room === 0 ? '' : `, room for ${options.room}`}`
}

function bodyOf(options: SkeletonOptions): string[] {
  return [...setBlocks(options), ...chainBlocks(options)]
}

/** `ip kube-sluice` */
export function tableName(family: IpFamily): string {
  return `${nftFamily(family)} ${TABLE}`
}

/** The text that removes the table, there or not. */
export function removalText(family: IpFamily): string {
  return tableRemovalText(family, TABLE)
}

function setBlocks({ family, affinityMaxClients, room }: SkeletonOptions): string[] {
  // The kernel makes the hash table of such a map once; others it makes anew each time they double.
  const size = room === 0 ? [] : [`size ${room}`]
  const endpoints = block('map endpoints', 'slot number of a steered connection -> endpoint', [
    `type mark : ${typeOf('address', family)} . inet_service`,
    ...size,
  ])
  return [
    ...endpoints,
    ...affinityMap(family, affinityMaxClients),
    ...SET_NAMES.flatMap((name) => {
      const spec = specOf(name)
      const isMap = spec.data !== undefined || spec.chains !== undefined
      return block(`${isMap ? 'map' : 'set'} ${name}`, spec.comment, [
        declaration(spec, family),
        ...(spec.key.includes('range') ? ['flags interval'] : []),
        ...(name === 'vip-slots' ? size : []),
      ])
    }),
  ]
}

/** A slot has no type of its own in nft: such maps are declared by what is looked up in them. */
function declaration(spec: SetSpec, family: IpFamily): string {
  const bySample = spec.key.includes('slot')
  const print = (field: Field) => (bySample ? sampleOf(field, family) : typeOf(field, family))
  const key = spec.key.map(print).join(' . ')
  const endpoint = spec.data?.map(print).join(' . ')
  const data = spec.chains === undefined ? endpoint : 'verdict'
  return `${bySample ? 'typeof' : 'type'} ${key}${data === undefined ? '' : ` : ${data}`}`
}

function typeOf(field: Field, family: IpFamily): string {
  switch (field) {
    case 'address':
    case 'range':
      return family === 'IPv4' ? 'ipv4_addr' : 'ipv6_addr'
    case 'protocol':
      return 'inet_proto'
    case 'port':
      return 'inet_service'
    case 'slot':
      throw new RangeError('nft has no name for the type of a slot')
  }
}

function sampleOf(field: Field, family: IpFamily): string {
  switch (field) {
    case 'address':
    case 'range':
      return `${ipOf(family)} daddr`
    case 'protocol':
      return 'meta l4proto'
    case 'port':
      return 'th dport'
    case 'slot':
      return 'numgen random mod 2'
  }
}

/** What is looked up for a door. */
function keyOf(door: Door, family: IpFamily): string {
  return door === 'vip'
    ? `${ipOf(family)} daddr . meta l4proto . th dport`
    : 'meta l4proto . th dport'
}

/** A chain that a rule names comes before it; those that only elements name come last. */
function chainBlocks(options: SkeletonOptions): string[] {
  return [
    ...kindBlocks(options),
    ...serviceBlocks(options),
    ...guardBlocks(options),
    ...filterBlocks(options),
    ...affinityBlocks(options.family),
    ...drawBlocks(options.family),
  ]
}

function drawBlocks(family: IpFamily): string[] {
  const ip = ipOf(family)
  return drawChains().flatMap(({ door, scope, draw, name, size, draws }) => {
    const map = scope === 'local' ? `${door}-local-slots` : `${door}-slots`
    const rules = draws.map((below, index) => {
      const slot =
        draw === 'random'
          ? `numgen random mod ${below}`
          : `jhash ${ip} saddr mod ${below} seed 0x${(HASH_SEED + index).toString(16)}`
      return `dnat ${ip} to ${keyOf(door, family)} . ${slot} map @${map}`
    })
    if (draw === 'hash') rules.unshift(...rememberedEndpoint(family))
    const from = draws.length === 1 ? size : size / 2 + 1
    const comment = `${from === size ? size : `${from} to ${size}`} endpoints${size > 1 && draw === 'hash' ? ', by the source' : ''}`
    return block(`chain ${name}`, comment, rules)
  })
}

/** The masquerade decisions of src/model/masquerade.ts, kind by kind; hairpin is in postrouting. */
function kindBlocks(options: SkeletonOptions): string[] {
  const { family, marks, masqueradeAll, podRange } = options
  const ip = ipOf(family)
  const masquerade = `ct mark set ct mark | ${hex(marks.masqueradeBit)}`
  const draw = (door: Door, map = `${door}-classes`) => `${keyOf(door, family)} vmap @${map}`
  const outside = podRange === undefined ? undefined : `${ip} saddr != ${podRange.text}`
  const clusterIpRules = masqueradeAll
    ? [masquerade]
    : outside === undefined
      ? []
      : [`${outside} ${masquerade}`]
  return [
    ...block('chain vip-cluster-ip', 'cluster IPs: masquerade what is not from a pod', [
      ...clusterIpRules,
      draw('vip'),
    ]),
    ...(['vip', 'nodeport'] as const).flatMap((door) => [
      ...block(`chain ${door}-external`, 'externalTrafficPolicy Cluster: always masquerade', [
        masquerade,
        draw(door),
      ]),
      ...block(
        `chain ${door}-external-local`,
        'externalTrafficPolicy Local: pods and the node reach every endpoint, others those here',
        [
          ...(podRange === undefined ? [] : [`${ip} saddr ${podRange.text} ${draw(door)}`]),
          `${outside === undefined ? '' : `${outside} `}fib saddr type local ${masquerade}`,
          `fib saddr type local ${draw(door)}`,
          draw(door, `${door}-local-classes`),
        ],
      ),
    ]),
  ]
}

function serviceBlocks(options: SkeletonOptions): string[] {
  const { family, marks, localhostNodePorts } = options
  const ip = ipOf(family)
  const loopback = family === 'IPv4' && localhostNodePorts ? ['ip daddr 127.0.0.0/8 return'] : []
  const steeredSlot = `ct mark & ${hex(marks.slotMask)}`
  return [
    ...block('chain services', 'new connections to Services', [
      `meta l4proto { tcp, udp, sctp } ${steeredSlot} != 0 dnat ${ip} to ${steeredSlot} map @endpoints comment "steered"`,
      `ct mark & ${hex(marks.rejectBit)} != 0 return comment "steered: rejected in filter-*"`,
      `${keyOf('vip', family)} vmap @vips`,
      `${atNode(options)} ${keyOf('nodeport', family)} vmap @nodeports`,
    ]),
    ...base(
      'nat-prerouting',
      `nat hook prerouting priority ${PRIORITY_DNAT}`,
      'connections that come in',
      [...loopback, 'jump services'],
    ),
    ...base('nat-output', `nat hook output priority ${PRIORITY_DNAT}`, 'connections of this node', [
      'jump services',
    ]),
    ...base('nat-postrouting', `nat hook postrouting priority ${PRIORITY_SNAT}`, 'masquerading', [
      `ct mark & ${hex(marks.masqueradeBit)} != 0 masquerade fully-random`,
      `ct status dnat ${ip} saddr . ${ip} daddr . meta l4proto . th dport @hairpin-connections masquerade fully-random comment "endpoints that reach themselves"`,
    ]),
  ]
}

/** Destinations at which node ports are served. */
function atNode({ family, nodePortsAtAll, localhostNodePorts }: SkeletonOptions): string {
  const local = 'fib daddr type local'
  if (!nodePortsAtAll) return `${local} ${ipOf(family)} daddr @nodeport-ips`
  if (family === 'IPv6') return `${local} ip6 daddr != ::1`
  return localhostNodePorts ? local : `${local} ip daddr != 127.0.0.0/8`
}

/** Closed doors: policy Local without an endpoint here, loadBalancerSourceRanges. */
function guardBlocks(options: SkeletonOptions): string[] {
  const { family, podRange } = options
  const ip = ipOf(family)
  const allowed = `${keyOf('vip', family)} . ${ip} saddr @source-ranges`
  const policyRules = [
    ...(podRange === undefined ? [] : [`${ip} saddr ${podRange.text} return`]),
    'fib saddr type local return',
    'drop',
  ]
  return [
    ...block('chain guard-drop', 'a Local policy and no endpoint here: closed', ['drop']),
    ...block(
      'chain guard-local-policy',
      'externalTrafficPolicy Local and no endpoint here: pods and the node only',
      policyRules,
    ),
    ...block('chain guard-source-ranges', 'loadBalancerSourceRanges', [
      `${allowed} return`,
      'drop',
    ]),
    ...block('chain guard-ranges-and-policy', 'both of the above', [
      `${allowed} goto guard-local-policy`,
      'drop',
    ]),
    ...block('chain guard', 'destinations that are not open to all', [
      `${keyOf('vip', family)} vmap @vip-guards`,
      `${atNode(options)} ${keyOf('nodeport', family)} vmap @nodeport-guards`,
    ]),
    ...(['prerouting', 'output'] as const).flatMap((hook) =>
      base(`guard-${hook}`, `filter hook ${hook} priority ${PRIORITY_GUARD}`, 'before DNAT', [
        'ct state new jump guard',
      ]),
    ),
  ]
}

/** ICMP port unreachable, for every protocol, as the default of `reject` is. */
function filterBlocks(options: SkeletonOptions): string[] {
  const { family, marks, localhostNodePorts, dropsInvalid } = options
  // Loopback is open to neighbours where route_localnet is on (kubernetes issue 90259).
  const martians =
    family === 'IPv4' && localhostNodePorts
      ? [
          'ip daddr 127.0.0.0/8 ip saddr != 127.0.0.0/8 ct state != { established, related } ct status & dnat == 0 drop comment "loopback stays closed to neighbours"',
        ]
      : []
  const jump = 'ct state new jump rejects'
  const chain = (hook: string, rules: readonly string[]) =>
    base(
      `filter-${hook}`,
      `filter hook ${hook} priority ${PRIORITY_FILTER}`,
      'destinations without an endpoint',
      rules,
    )
  return [
    ...block('chain rejects', 'tell the client that nobody is there', [
      `ct mark & ${hex(marks.rejectBit)} != 0 reject comment "steered"`,
      `${keyOf('vip', family)} @vip-rejects reject`,
    ]),
    ...chain('input', [
      ...martians,
      `ct state new ${atNode(options)} ${keyOf('nodeport', family)} @nodeport-rejects reject`,
      jump,
    ]),
    ...chain('forward', [
      ...(dropsInvalid
        ? ['ct state invalid drop comment "would reach the client untranslated"']
        : []),
      jump,
    ]),
    ...chain('output', [jump]),
  ]
}

function base(name: string, hook: string, comment: string, rules: readonly string[]): string[] {
  return block(`chain ${name}`, comment, [`type ${hook}; policy accept;`, ...rules])
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`
}
