/** What an explanation needs, from the configuration and a Snapshot. */
import type { RunConfig } from '../config/run-config.js'
import { choiceOf } from '../datapath/explain-choice.js'
import { kernelObjects } from '../datapath/explain-objects.js'
import type { RunningMode } from '../datapath/running-mode.js'
import { localAddresses } from '../kernel/local-address.js'
import { systemClock } from '../lib/clock.js'
import { familyOf } from '../lib/ip-address.js'
import { nodePortAddressesOf } from '../model/node-port-addresses.js'
import { podRanges } from '../model/pod-ranges.js'
import type { ServicePort } from '../model/service-port.js'
import type { Snapshot } from '../model/snapshot.js'
import {
  connectionOf,
  explain,
  type ExplainContext,
  type Explanation,
} from '../observe/explain/explain.js'
import type { Question } from '../observe/explain/question.js'
import { AffinityTable } from '../policy/affinity.js'
import { EndpointPicker, type Foreseen, type NewConnection } from '../policy/endpoint-picker.js'

/** What only a running proxy knows. */
export type LiveState = Pick<ExplainContext, 'healthOf' | 'ejectedSince' | 'openOf'> &
  Pick<RunningMode, 'foresee'>

export interface ExplainPlace {
  readonly config: RunConfig
  readonly snapshot: Snapshot
  readonly modeOf: (servicePort: ServicePort | undefined) => string
}

/** Modes that pick by a balancer of ours; `auto`: it begins with one of them. */
const DECIDING: ReadonlySet<string> = new Set(['userspace', 'nfqueue', 'auto'])

/** Without a live state: of a proxy that has just begun with the Snapshot. */
export async function explainWith(
  question: Question,
  place: ExplainPlace,
  live?: LiveState,
): Promise<Explanation> {
  const context = contextOf(question, place, live)
  const asked = connectionOf(question, context)
  if (asked === undefined || !DECIDING.has(place.modeOf(asked.servicePort))) {
    return explain(question, context)
  }
  const foreseen =
    live === undefined
      ? foreseeAtStart(asked.connection, place)
      : await live.foresee?.(asked.connection)
  return explain(question, { ...context, foreseen })
}

function contextOf(
  question: Question,
  { config, snapshot, modeOf }: ExplainPlace,
  live: LiveState | undefined,
): ExplainContext {
  const own = localAddresses()
  // Manifests are of a node that this machine need not be.
  const nodes = snapshot.node.addresses.map((address) => ({ address, isLoopback: false }))
  const options = { ...config, localAddresses: live === undefined ? [...own, ...nodes] : own }
  return {
    snapshot,
    modeOf,
    podRanges: podRanges(snapshot.node, config),
    nodeIps: [...new Set([...own.map(({ address }) => address), ...snapshot.node.addresses])],
    nodePortIps: [
      ...new Set(nodePortAddressesOf(familyOf(question.address), snapshot.node, options)),
    ],
    masqueradeAll: config.masqueradeAll,
    choiceOf: (port, endpoints) => choiceOf(modeOf(port), port, { endpoints, config }),
    healthOf: live?.healthOf ?? (() => undefined),
    ejectedSince: live?.ejectedSince ?? (() => undefined),
    openOf: live?.openOf ?? (() => 0),
    objectsOf: (carried) => kernelObjects(modeOf(carried.servicePort), carried),
    nowMs: Date.now(),
  }
}

function foreseeAtStart(
  connection: NewConnection,
  { config, snapshot }: Pick<ExplainPlace, 'config' | 'snapshot'>,
): Foreseen {
  const picker = new EndpointPicker({
    affinity: new AffinityTable({ maxClients: 1 }),
    clock: systemClock,
    random: () => 0,
    balancers: config.balancers,
  })
  const state = snapshot.servicePorts.get(connection.servicePortId)
  if (state !== undefined) picker.set(connection.servicePortId, state)
  return picker.foresee(connection)
}
