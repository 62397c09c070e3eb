/** What an explanation needs, from the configuration and a Snapshot. */
import type { RunConfig } from '../config/run-config.js'
import { kernelObjects } from '../datapath/explain-objects.js'
import { localAddresses } from '../kernel/local-address.js'
import { familyOf } from '../lib/ip-address.js'
import { nodePortAddressesOf } from '../model/node-port-addresses.js'
import { podRanges } from '../model/pod-ranges.js'
import type { Snapshot } from '../model/snapshot.js'
import { explain, type ExplainContext, type Explanation } from '../observe/explain/explain.js'
import type { Question } from '../observe/explain/question.js'
import { readBalancerSettings } from '../policy/balancer/settings.js'

/** What only a running proxy knows. */
export type LiveState = Partial<Pick<ExplainContext, 'healthOf' | 'ejectedSince' | 'openOf'>>

export function explainWith(
  question: Question,
  place: { readonly config: RunConfig; readonly snapshot: Snapshot; readonly mode: string },
  live: LiveState = {},
): Explanation {
  const { config, snapshot, mode } = place
  const own = localAddresses()
  const options = { ...config, localAddresses: own }
  return explain(question, {
    snapshot,
    mode,
    podRanges: podRanges(snapshot.node, config),
    nodeIps: [...new Set([...own.map(({ address }) => address), ...snapshot.node.addresses])],
    nodePortIps: [
      ...nodePortAddressesOf(familyOf(question.address), snapshot.node, options),
      ...snapshot.node.addresses,
    ],
    masqueradeAll: config.masqueradeAll,
    balancerOf: (port) => readBalancerSettings(port, config.balancers).settings.name,
    healthOf: live.healthOf ?? (() => undefined),
    ejectedSince: live.ejectedSince ?? (() => undefined),
    openOf: live.openOf ?? (() => 0),
    objectsOf: (carried) => kernelObjects(mode, carried),
  })
}
