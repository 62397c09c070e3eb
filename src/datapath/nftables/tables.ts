/**
 * The sets and maps of the flat layout: their names, the fields of their elements, and the chains
 * that verdicts may name. Everything else follows from this table: the skeleton's declarations, the
 * packed form of elements and their text.
 *
 * An element is packed as nf_tables keeps it: each field in network order, padded to 4 bytes;
 * slots in host order.
 */
import { ADDRESS_BYTES } from '../../lib/address-bytes.js'
import type { IpFamily } from '../../lib/ip-address.js'
import { AFFINITY_CHAINS } from './affinity-timeouts.js'
import { drawsOf, SLOT_CLASSES } from './slot-classes.js'

/** Of `ip kube-sluice` and `ip6 kube-sluice`. */
export const TABLE = 'kube-sluice'

export type Field = 'address' | 'protocol' | 'port' | 'slot' | 'range'

export interface SetSpec {
  readonly key: readonly Field[]
  /** Of a map of values. */
  readonly data?: readonly Field[]
  /** Of a map of verdicts: `goto` one of these. */
  readonly chains?: readonly string[]
  /** What an operator reads beside it. */
  readonly comment: string
}

/** What leads to a Service port: an address with a port, or a port of the node. */
export type Door = 'vip' | 'nodeport'

/** `random` for the balancer of the standby, `hash` for session affinity. */
export type Draw = 'random' | 'hash'

/** A local scope holds this node's endpoints, for what externalTrafficPolicy Local keeps here. */
export type Scope = 'main' | 'local'

/** Chains a VIP may go to, see skeleton.ts. */
export const VIP_CHAINS = ['vip-cluster-ip', 'vip-external', 'vip-external-local'] as const
export const NODEPORT_CHAINS = ['nodeport-external', 'nodeport-external-local'] as const
export const GUARD_CHAINS = [
  'guard-drop',
  'guard-local-policy',
  'guard-source-ranges',
  'guard-ranges-and-policy',
] as const
export type VipChain = (typeof VIP_CHAINS)[number]
export type GuardChain = (typeof GUARD_CHAINS)[number]

/** `vip-random-8`, `nodeport-local-hash-16`: draws a slot of a class and goes to its endpoint. */
export function drawChain(door: Door, scope: Scope, draw: Draw, size: number): string {
  return `${prefixOf(door, scope)}-${draw}-${size}`
}

/** The map of slots of a door and scope. */
export function slotSet(door: Door, scope: Scope): SlotSet {
  return SLOT_SETS[prefixOf(door, scope)]
}

/** The map from a door to the chain of its class. */
export function classSet(door: Door, scope: Scope): ClassSet {
  return CLASS_SETS[prefixOf(door, scope)]
}

/** The map from a door to the chain of its affinity time-out. */
export function timeoutSet(door: Door): `${Door}-timeouts` {
  return `${door}-timeouts`
}

/** Index in the chains of a class set. */
export function drawIndex(slotClass: number, draw: Draw): number {
  return slotClass * 2 + (draw === 'hash' ? 1 : 0)
}

type Prefix = Door | 'vip-local' | 'nodeport-local'
type SlotSet = `${Prefix}-slots`
type ClassSet = `${Prefix}-classes`

// Texts that are made anew would be in memory once a Service port.
const SLOT_SETS = {
  vip: 'vip-slots',
  'vip-local': 'vip-local-slots',
  nodeport: 'nodeport-slots',
  'nodeport-local': 'nodeport-local-slots',
} as const satisfies Record<Prefix, SlotSet>
const CLASS_SETS = {
  vip: 'vip-classes',
  'vip-local': 'vip-local-classes',
  nodeport: 'nodeport-classes',
  'nodeport-local': 'nodeport-local-classes',
} as const satisfies Record<Prefix, ClassSet>

function prefixOf(door: Door, scope: Scope): Prefix {
  return scope === 'local' ? `${door}-local` : door
}

const VIP_KEY = ['address', 'protocol', 'port'] as const
const NODEPORT_KEY = ['protocol', 'port'] as const
const ENDPOINT = ['address', 'port'] as const

function classChains(door: Door, scope: Scope): string[] {
  return SLOT_CLASSES.flatMap((size) => [
    drawChain(door, scope, 'random', size),
    drawChain(door, scope, 'hash', size),
  ])
}

function doorSets(door: Door, key: readonly Field[]) {
  const what = door === 'vip' ? 'VIP' : 'node port'
  return {
    guards: {
      key,
      chains: door === 'vip' ? GUARD_CHAINS : GUARD_CHAINS.slice(0, 2),
      comment: `${what}s that are closed to some or all sources`,
    },
    rejects: { key, comment: `${what}s without any endpoint` },
    classes: {
      key,
      chains: classChains(door, 'main'),
      comment: `${what} -> chain that draws one of its slots`,
    },
    localClasses: {
      key,
      chains: classChains(door, 'local'),
      comment: `${what} -> the same, among endpoints of this node`,
    },
    slots: {
      key: [...key, 'slot'],
      data: ENDPOINT,
      comment: `${what} and slot -> endpoint`,
    },
    timeouts: {
      key,
      chains: AFFINITY_CHAINS,
      comment: `${what} with session affinity -> chain that remembers the client for that many seconds`,
    },
    localSlots: {
      key: [...key, 'slot'],
      data: ENDPOINT,
      comment: `${what} and slot -> endpoint of this node`,
    },
  } satisfies Record<string, SetSpec>
}

const vip = doorSets('vip', VIP_KEY)
const nodeport = doorSets('nodeport', NODEPORT_KEY)

/** Filled from Snapshots. In the order in which the skeleton declares them. */
export const SETS = {
  vips: { key: VIP_KEY, chains: VIP_CHAINS, comment: 'VIP -> what kind of destination it is' },
  'vip-classes': vip.classes,
  'vip-slots': vip.slots,
  'vip-local-classes': vip.localClasses,
  'vip-local-slots': vip.localSlots,
  'vip-timeouts': vip.timeouts,
  'vip-guards': vip.guards,
  'vip-rejects': vip.rejects,
  'source-ranges': {
    key: [...VIP_KEY, 'range'],
    comment: 'VIP and source that loadBalancerSourceRanges allow',
  },
  nodeports: {
    key: NODEPORT_KEY,
    chains: NODEPORT_CHAINS,
    comment: 'node port -> what policy it has',
  },
  'nodeport-ips': { key: ['address'], comment: 'addresses of this node that serve node ports' },
  'nodeport-classes': nodeport.classes,
  'nodeport-slots': nodeport.slots,
  'nodeport-local-classes': nodeport.localClasses,
  'nodeport-local-slots': nodeport.localSlots,
  'nodeport-timeouts': nodeport.timeouts,
  'nodeport-guards': nodeport.guards,
  'nodeport-rejects': nodeport.rejects,
  'hairpin-connections': {
    key: ['address', 'address', 'protocol', 'port'],
    comment: 'endpoints of this node, as source and as destination',
  },
} as const satisfies Record<string, SetSpec>

export type SetName = keyof typeof SETS

export const SET_NAMES = Object.keys(SETS) as SetName[]

export function specOf(name: SetName): SetSpec {
  return SETS[name]
}

/** Packed bytes of these fields. */
export function packedLength(fields: readonly Field[], family: IpFamily): number {
  return fields.reduce((sum, field) => sum + fieldLength(field, family), 0)
}

export function fieldLength(field: Field, family: IpFamily): number {
  return field === 'address' || field === 'range' ? ADDRESS_BYTES[family] : 4
}

/** Every chain that draws, with what its rules draw below. */
export function drawChains(): readonly {
  readonly door: Door
  readonly scope: Scope
  readonly draw: Draw
  readonly name: string
  readonly size: number
  readonly draws: readonly number[]
}[] {
  return (['vip', 'nodeport'] as const).flatMap((door) =>
    (['main', 'local'] as const).flatMap((scope) =>
      (['random', 'hash'] as const).flatMap((draw) =>
        SLOT_CLASSES.map((size, slotClass) => ({
          door,
          scope,
          draw,
          size,
          name: drawChain(door, scope, draw, size),
          draws: drawsOf(slotClass),
        })),
      ),
    ),
  )
}
