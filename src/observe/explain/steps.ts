/** An explanation in sentences, in the order of the decision. Pure. */
import type { SourceKind } from '../../model/vip.js'
import type { Candidate, Choice } from './candidates.js'
import type { Explanation } from './explain.js'

const SOURCES: Readonly<Record<SourceKind, string>> = {
  pod: 'a pod, by the local detector',
  node: 'this node itself',
  other: 'neither a pod nor this node',
}

/** Modes in which the kernel has the connections, and nobody counts them. */
const RULES: ReadonlySet<string> = new Set(['iptables', 'ipvs', 'nftables'])

const MASQUERADE = {
  yes: "Masqueraded: the endpoint sees this node's address.",
  no: "Not masqueraded: the endpoint sees the client's address, where the mode can keep it.",
  'if-same': 'Masqueraded only if the endpoint is the client itself.',
} as const

export function stepsOf(
  e: Omit<Explanation, 'steps'>,
  { isRefused, choice }: { readonly isRefused: boolean; readonly choice: Choice },
): string[] {
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
  return [
    ...steps,
    ...affinitySteps(e),
    pickStep(e, choice),
    ...candidates.map((candidate) => candidateLine(candidate, choice, !RULES.has(e.mode))),
    MASQUERADE[e.masquerade ?? 'no'],
  ]
}

function affinitySteps({ affinitySeconds, pinned, candidates }: Omit<Explanation, 'steps'>) {
  if (affinitySeconds === undefined) return []
  const rule = `Session affinity: a client that connected in the last ${affinitySeconds} s goes to the same endpoint again, before any balancer.`
  if (pinned === undefined) return [rule]
  const isThere = candidates.some(({ address }) => address === pinned.address)
  const gone = isThere ? '' : ', which takes no connections now: a new one is picked'
  return [
    rule,
    `It has this client at ${pinned.address} until ${pinned.until}, longer when it connects again${gone}.`,
  ]
}

function pickStep(e: Omit<Explanation, 'steps'>, { name, how }: Choice): string {
  const { candidates, pinned, pick } = e
  const [only] = candidates
  const isThere = (address: string | undefined): boolean =>
    candidates.some((candidate) => candidate.address === address)
  if (candidates.length === 1 && only !== undefined)
    return `It goes to ${only.address}, the only one:`
  if (pinned !== undefined && isThere(pinned.address)) return `It goes to ${pinned.address}:`
  if (pick !== undefined && isThere(pick)) {
    return `The balancer ${name} picks ${how}: it goes to ${pick}, as things are now:`
  }
  return `The balancer ${name} picks one of ${candidates.length}, ${how}:`
}

function candidateLine(candidate: Candidate, { isWeighted }: Choice, isCounted: boolean): string {
  const { address, pod, weight, sharePercent, activeConnections, isUp } = candidate
  const { ejectedSince, ejectedUntil } = candidate
  const until = ejectedUntil === undefined ? '' : `, tried again at ${ejectedUntil}`
  const parts = [
    `${sharePercent} %`,
    `weight ${weight}${isWeighted || weight === 1 ? '' : ', which does not count'}`,
    ...(isCounted ? [`${activeConnections} open`] : []),
    ...(isUp === false ? ['unhealthy, but so few are healthy that health is ignored'] : []),
    ...(ejectedSince === undefined ? [] : [`passed over (ejected since ${ejectedSince}${until})`]),
  ]
  return `  ${address}${pod === undefined ? '' : ` ${pod}`}: ${parts.join(', ')}`
}
