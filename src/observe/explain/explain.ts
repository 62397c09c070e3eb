/**
 * Why a new connection goes where it goes, step by step, by the functions that the datapaths decide
 * with (selectEndpoints, allowedSources, needsMasquerade). Pure; it picks nothing, so that asking
 * changes no balancer's state: where several endpoints may be picked, all are named with their share.
 */
import { hostRange, rangeContains, type IpRange } from '../../lib/ip-address.js'
import { allowedSources, withoutPolicy } from '../../model/allowed-sources.js'
import type { Endpoint } from '../../model/endpoint.js'
import { needsMasquerade } from '../../model/masquerade.js'
import { servicePortName, type ServicePort } from '../../model/service-port.js'
import type { ServicePortState, Snapshot } from '../../model/snapshot.js'
import { selectEndpoints, vipsOf, type SourceKind, type Vip } from '../../model/vip.js'
import { whyLeftOut, type KnownHealth } from './left-out.js'
import type { Question } from './question.js'

export interface ExplainContext {
  readonly snapshot: Snapshot
  /** `userspace`, `nfqueue`, ... */
  readonly mode: string
  /** Both families. */
  readonly podRanges: readonly IpRange[]
  readonly nodeIps: readonly string[]
  /** Addresses of the question's family that serve node ports. */
  readonly nodePortIps: readonly string[]
  readonly masqueradeAll: boolean
  readonly balancerOf: (servicePort: ServicePort) => string
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

export interface Candidate {
  readonly address: string
  readonly pod: string | undefined
  readonly weight: number
  /** Part of the weights, 0..100, rounded. Where it really goes the balancer says. */
  readonly sharePercent: number
  readonly activeConnections: number
  /** Passed over while there are others; undefined: it is not. */
  readonly ejectedSince: string | undefined
}

/** The document of `/explain` and `explain -o json`. Fields are only ever added. */
export interface Explanation {
  readonly question: Question
  readonly mode: string
  readonly verdict: 'endpoint' | 'reject' | 'drop' | 'not-a-service'
  /** `ns/name:port`; undefined: no Service has that address and port. */
  readonly servicePort: string | undefined
  readonly vipKind: string | undefined
  readonly source: SourceKind
  readonly scope: 'cluster' | 'local' | undefined
  readonly balancer: string | undefined
  readonly affinitySeconds: number | undefined
  readonly candidates: readonly Candidate[]
  readonly leftOut: readonly { readonly address: string; readonly why: string }[]
  /** `if-same`: only when the endpoint is the client itself. */
  readonly masquerade: 'yes' | 'no' | 'if-same' | undefined
  readonly objects: readonly string[]
  /** All of it in sentences, in the order of the decision. */
  readonly steps: readonly string[]
}

export function explain(question: Question, context: ExplainContext): Explanation {
  const source = sourceOf(question.client, context)
  const found = findVip(question, context)
  const none = { servicePort: undefined, vipKind: undefined, scope: undefined, balancer: undefined }
  if (found === undefined) {
    const steps = [
      `No Service has ${question.protocol} ${question.address} port ${question.port}: it is not for this proxy, the packet goes on as it is.`,
    ]
    const rest = { affinitySeconds: undefined, masquerade: undefined, candidates: [], leftOut: [] }
    const { mode } = context
    return {
      question,
      mode,
      verdict: 'not-a-service',
      source,
      ...none,
      ...rest,
      objects: [],
      steps,
    }
  }
  return explainVip(question, { ...found, source }, context)
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
  const candidates = candidatesOf(id, endpoints, context)
  const objects = context.objectsOf({ question, servicePort, vip, scope, endpoints })
  const explanation = {
    question,
    mode: context.mode,
    verdict: selection.verdict === 'balance' ? ('endpoint' as const) : selection.verdict,
    servicePort: servicePortName(servicePort),
    vipKind: vip.kind,
    source,
    scope,
    balancer: context.balancerOf(servicePort),
    affinitySeconds: servicePort.affinityTimeoutSeconds,
    candidates,
    leftOut,
    masquerade: masqueradeOf(question, endpoints, met, context),
    objects,
  } as const
  return { ...explanation, steps: stepsOf(explanation, isRefused) }
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

function candidatesOf(
  id: string,
  endpoints: readonly Endpoint[],
  { ejectedSince, openOf }: ExplainContext,
): Candidate[] {
  const total = endpoints.reduce((sum, { weight }) => sum + weight, 0)
  return endpoints.map((endpoint) => ({
    address: endpoint.id,
    pod: endpoint.podName,
    weight: endpoint.weight,
    sharePercent: Math.round((endpoint.weight * 100) / total),
    activeConnections: openOf(id, endpoint.id),
    ejectedSince: ejectedSince(id, endpoint.id)?.toISOString(),
  }))
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

const SOURCES: Readonly<Record<SourceKind, string>> = {
  pod: 'a pod, by the local detector',
  node: 'this node itself',
  other: 'neither a pod nor this node',
}

function stepsOf(e: Omit<Explanation, 'steps'>, isRefused: boolean): string[] {
  const { verdict, scope, candidates, leftOut } = e
  const steps = [
    `${e.question.protocol} ${e.question.address} port ${e.question.port} is the ${e.vipKind} of Service port ${e.servicePort}.`,
    `The client ${e.question.client} is ${SOURCES[e.source]}.`,
  ]
  if (isRefused) return [...steps, 'loadBalancerSourceRanges do not let it in: dropped.']
  steps.push(
    scope === 'local'
      ? 'The traffic policy is Local: only endpoints of this node.'
      : 'The traffic policy leads to the endpoints of the whole cluster.',
    ...leftOut.map(({ address, why }) => `${address} is left out: ${why}.`),
  )
  if (verdict === 'reject') return [...steps, 'No usable endpoint is left anywhere: refused.']
  if (verdict === 'drop') return [...steps, 'None is on this node, others have some: dropped.']
  if (e.affinitySeconds !== undefined) {
    steps.push(
      `Session affinity: a client that connected in the last ${e.affinitySeconds} s goes to the same endpoint again, before any balancer.`,
    )
  }
  const [only] = candidates
  steps.push(
    candidates.length === 1 && only !== undefined
      ? `It goes to ${only.address}, the only one.`
      : `The balancer ${e.balancer} picks one of ${candidates.length}:`,
  )
  for (const {
    address,
    pod,
    weight,
    sharePercent,
    activeConnections,
    ejectedSince,
  } of candidates) {
    const ejected =
      ejectedSince === undefined ? '' : `, passed over (ejected since ${ejectedSince})`
    steps.push(
      `  ${address}${pod === undefined ? '' : ` ${pod}`}: weight ${weight} (${sharePercent} %), ${activeConnections} open${ejected}`,
    )
  }
  return [...steps, MASQUERADE[e.masquerade ?? 'no']]
}

const MASQUERADE = {
  yes: "Masqueraded: the endpoint sees this node's address.",
  no: "Not masqueraded: the endpoint sees the client's address, where the mode can keep it.",
  'if-same': 'Masqueraded only if the endpoint is the client itself.',
} as const
