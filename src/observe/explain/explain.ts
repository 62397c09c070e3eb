/**
 * Why a new connection goes where it goes, step by step, by the functions that the datapaths decide
 * with (selectEndpoints, allowedSources, needsMasquerade). Pure; it picks nothing, so that asking
 * changes no balancer's state: the pick is named where it is certain (`foreseen`), else the endpoints
 * that may be picked, with their share.
 */
import { familyOf, hostRange, rangeContains, type IpRange } from '../../lib/ip-address.js'
import { allowedSources, withoutPolicy } from '../../model/allowed-sources.js'
import type { Endpoint } from '../../model/endpoint.js'
import { needsMasquerade } from '../../model/masquerade.js'
import { servicePortName, type ServicePort } from '../../model/service-port.js'
import type { ServicePortState, Snapshot } from '../../model/snapshot.js'
import { selectEndpoints, vipsOf, type SourceKind, type Vip } from '../../model/vip.js'
import type { Foreseen, NewConnection } from '../../policy/endpoint-picker.js'
import { type Candidate, candidatesOf, type Choice } from './candidates.js'
import { whyLeftOut, type KnownHealth } from './left-out.js'
import type { Question } from './question.js'
import { stepsOf } from './steps.js'

export interface ExplainContext {
  readonly snapshot: Snapshot
  /** `userspace`, `nfqueue`, ...: the mode that serves a Service port; undefined: the mode in general. */
  readonly modeOf: (servicePort: ServicePort | undefined) => string
  /** Both families. */
  readonly podRanges: readonly IpRange[]
  readonly nodeIps: readonly string[]
  /** Addresses of the question's family that serve node ports. */
  readonly nodePortIps: readonly string[]
  readonly masqueradeAll: boolean
  readonly choiceOf: (servicePort: ServicePort, endpoints: readonly Endpoint[]) => Choice
  /** What the mode knows of this connection's pick; undefined: nothing. */
  readonly foreseen?: Foreseen | undefined
  /** Now, milliseconds since the epoch. */
  readonly nowMs: number
  readonly healthOf: (servicePortId: string, endpointId: string) => KnownHealth | undefined
  readonly ejectedSince: (servicePortId: string, endpointId: string) => Date | undefined
  readonly openOf: (servicePortId: string, endpointId: string) => number
  /** What in the kernel, or in this process, carries it out; a line each, as one would look it up. */
  readonly objectsOf: (carried: Carried) => readonly string[]
}

/** What the kernel objects are asked for. */
export interface Carried {
  readonly question: Question
  readonly servicePort: ServicePort
  readonly vip: Vip
  readonly scope: 'cluster' | 'local'
  readonly endpoints: readonly Endpoint[]
}

/** The document of `/explain` and `explain -o json`. Fields are only ever added. */
export interface Explanation {
  readonly question: Question
  readonly mode: string
  readonly verdict: 'endpoint' | 'reject' | 'drop' | 'not-a-service'
  /** `ns/name:port`; undefined: no Service has that address and port. */
  readonly servicePort: string | undefined
  /** As metrics and the status have it inside: `ns/name:port/TCP/IPv4`. */
  readonly servicePortId: string | undefined
  readonly vipKind: string | undefined
  readonly source: SourceKind
  readonly scope: 'cluster' | 'local' | undefined
  readonly balancer: string | undefined
  readonly affinitySeconds: number | undefined
  /** Where session affinity has this client, and until when, unless it connects again. */
  readonly pinned: { readonly address: string; readonly until: string } | undefined
  /** Where the balancer sends this client, if that hangs on the client alone. */
  readonly pick: string | undefined
  readonly candidates: readonly Candidate[]
  readonly leftOut: readonly { readonly address: string; readonly why: string }[]
  /** `if-same`: only when the endpoint is the client itself. */
  readonly masquerade: 'yes' | 'no' | 'if-same' | undefined
  readonly objects: readonly string[]
  /** When it is asked to follow connections: the bits of connection marks that hold the endpoint's slot. */
  readonly markMask?: number | undefined
  /** Likewise, when this process relays: connections of the client that are open. */
  readonly relayed?:
    readonly { readonly clientPort: number; readonly endpoint: string | undefined }[] | undefined
  /** All of it in sentences, in the order of the decision. */
  readonly steps: readonly string[]
}

export function explain(question: Question, context: ExplainContext): Explanation {
  const found = findVip(question, context)
  if (found !== undefined) {
    const source = sourceOf(question.client, context)
    return explainVip(question, { ...found, source }, context)
  }
  return {
    question,
    mode: context.modeOf(undefined),
    verdict: 'not-a-service',
    servicePort: undefined,
    servicePortId: undefined,
    vipKind: undefined,
    source: sourceOf(question.client, context),
    scope: undefined,
    balancer: undefined,
    affinitySeconds: undefined,
    pinned: undefined,
    pick: undefined,
    candidates: [],
    leftOut: [],
    masquerade: undefined,
    objects: [],
    steps: [
      `No Service has ${question.protocol} ${question.address} port ${question.port}: it is not for this proxy, the packet goes on as it is.`,
      ...unservedNodePort(question, context),
    ],
  }
}

/** The connection as a picker is asked for it, and its Service port; undefined: of no Service. */
export function connectionOf(
  question: Question,
  context: ExplainContext,
): { readonly connection: NewConnection; readonly servicePort: ServicePort } | undefined {
  const found = findVip(question, context)
  if (found === undefined) return undefined
  const { servicePort } = found.state
  const connection = {
    servicePortId: servicePort.id,
    kind: found.vip.kind,
    source: sourceOf(question.client, context),
    clientIp: question.client,
    clientPort: question.clientPort ?? 0,
  }
  return { connection, servicePort }
}

/** It is a node port, and the address one of this node, but not one that serves them. */
function unservedNodePort(
  { protocol, address, port }: Question,
  { snapshot, nodeIps, nodePortIps }: ExplainContext,
): string[] {
  if (!nodeIps.includes(address)) return []
  for (const { servicePort } of snapshot.servicePorts.values()) {
    if (servicePort.nodePort !== port || servicePort.protocol !== protocol) continue
    if (servicePort.ipFamily !== familyOf(address)) continue
    const served = nodePortIps.length === 0 ? 'at no address' : `only at ${nodePortIps.join(', ')}`
    return [
      `Port ${port} is a node port of Service port ${servicePortName(servicePort)}, but --nodeport-addresses has node ports served ${served}.`,
    ]
  }
  return []
}

interface Met {
  readonly state: ServicePortState
  readonly vip: Vip
  readonly source: SourceKind
}

function explainVip(question: Question, met: Met, context: ExplainContext): Explanation {
  const { state, vip, source } = met
  const { servicePort } = state
  const { id } = servicePort
  const isRefused = !mayCome(question.client, met, context)
  const selection = isRefused
    ? ({ verdict: 'drop' } as const)
    : selectEndpoints(state, vip.kind, source)
  const isLocal = source === 'other' || vip.kind === 'cluster-ip'
  const policy =
    vip.kind === 'cluster-ip' ? servicePort.internalPolicyLocal : servicePort.externalPolicyLocal
  const scope = policy && isLocal ? 'local' : 'cluster'
  const endpoints = selection.verdict === 'balance' ? selection.endpoints : []
  const chosen = new Set(endpoints.map((endpoint) => endpoint.id))
  const leftOut = state.endpoints
    .filter((endpoint) => !chosen.has(endpoint.id))
    .map((endpoint) => ({
      address: endpoint.id,
      why: isRefused
        ? 'the client may not come'
        : whyLeftOut(endpoint, scope, context.healthOf(id, endpoint.id)),
    }))
  const { foreseen, nowMs } = context
  const choice = context.choiceOf(servicePort, endpoints)
  const candidates = candidatesOf(endpoints, {
    ...{ choice, foreseen, nowMs },
    openOf: (endpointId) => context.openOf(id, endpointId),
    ejectedSince: (endpointId) => context.ejectedSince(id, endpointId),
    isUp: (endpointId) => context.healthOf(id, endpointId)?.isUp,
  })
  const pin = foreseen?.pinned
  const objects = context.objectsOf({ question, servicePort, vip, scope, endpoints })
  const explanation = {
    question,
    mode: context.modeOf(servicePort),
    verdict: selection.verdict === 'balance' ? ('endpoint' as const) : selection.verdict,
    servicePort: servicePortName(servicePort),
    servicePortId: id,
    vipKind: vip.kind,
    source,
    scope,
    balancer: choice.name,
    affinitySeconds: servicePort.affinityTimeoutSeconds,
    pinned: pin && {
      address: pin.endpointId,
      until: new Date(nowMs + pin.leftMs).toISOString(),
    },
    pick: foreseen?.pick,
    candidates,
    leftOut,
    masquerade: masqueradeOf(question, endpoints, met, context),
    objects,
  } as const
  return { ...explanation, steps: stepsOf(explanation, { isRefused, choice }) }
}

function sourceOf(client: string, { podRanges, nodeIps }: ExplainContext): SourceKind {
  if (podRanges.some((range) => rangeContains(range, client))) return 'pod'
  return nodeIps.includes(client) ? 'node' : 'other'
}

function findVip(
  { protocol, address, port }: Question,
  { snapshot, nodePortIps }: ExplainContext,
): Pick<Met, 'state' | 'vip'> | undefined {
  for (const state of snapshot.servicePorts.values()) {
    if (state.servicePort.protocol !== protocol) continue
    const vip = vipsOf(state.servicePort).find(
      (one) =>
        one.port === port &&
        (one.address ?? (nodePortIps.includes(address) ? address : '')) === address,
    )
    if (vip !== undefined) return { state, vip }
  }
  return undefined
}

function mayCome(client: string, { state, vip }: Met, context: ExplainContext): boolean {
  const { nodeIps, podRanges } = context
  const localSources = [...podRanges, ...nodeIps.map(hostRange)]
  const allowed = allowedSources(withoutPolicy(state), vip.kind, { localSources, nodeIps })
  return allowed === 'all' || allowed.some((range) => rangeContains(range, client))
}

function masqueradeOf(
  { client }: Question,
  endpoints: readonly Endpoint[],
  { state: { servicePort }, vip: { kind }, source }: Met,
  { masqueradeAll, podRanges }: ExplainContext,
): Explanation['masquerade'] {
  if (endpoints.length === 0) return undefined
  const hasLocalDetector = podRanges.some(({ family }) => family === servicePort.ipFamily)
  const options = { masqueradeAll, hasLocalDetector }
  if (needsMasquerade({ servicePort, kind, source, isHairpin: false, options })) return 'yes'
  return endpoints.some(({ ip }) => ip === client) ? 'if-same' : 'no'
}
