/** This node's Node object as the NodeState of a Snapshot. Pure and total. */
import type { V1Node } from '@kubernetes/client-node'
import { parseIpAddress, parseIpRange } from '../lib/ip-address.js'
import { itemsOf, quote, textOf, type ReportField } from './object-fields.js'
import type { NodeState, ObjectProblem } from './snapshot.js'

/** The node's zone, for topology hints. */
export const ZONE_LABEL = 'topology.kubernetes.io/zone'

const LEAVING_TAINT = 'ToBeDeletedByClusterAutoscaler'

/** What is known of a node without its object. */
export function unknownNode(name: string): NodeState {
  return { name, zone: undefined, addresses: [], podCidrs: [], isUnknown: true }
}

/** Translates the Node of that name; addresses in the order of preference of kube-proxy's pkg/util/node. */
export function translateNode(
  node: V1Node,
  name: string,
): { readonly node: NodeState; readonly problems: readonly ObjectProblem[] } {
  const problems: ObjectProblem[] = []
  const report: ReportField = (field, message) => {
    problems.push({ object: `Node ${name}`, field, message })
  }
  return {
    node: {
      name,
      zone: textOf(node.metadata?.labels?.[ZONE_LABEL]),
      addresses: [
        ...new Set([
          ...addressesOf(node, 'InternalIP', report),
          ...addressesOf(node, 'ExternalIP', report),
        ]),
      ],
      podCidrs: podCidrsOf(node, report),
      ...(isLeaving(node) ? { isLeaving: true } : {}),
    },
    problems,
  }
}

/** kube-proxy's rule for /healthz (KEP-3836), whatever the effect of the taint. */
function isLeaving({ metadata, spec }: V1Node): boolean {
  return (
    metadata?.deletionTimestamp !== undefined ||
    itemsOf(spec?.taints).some(([, { key }]) => key === LEAVING_TAINT)
  )
}

function addressesOf(node: V1Node, type: string, report: ReportField): string[] {
  const found: string[] = []
  for (const [index, entry] of itemsOf(node.status?.addresses)) {
    if (entry.type !== type) continue
    const ip = typeof entry.address === 'string' ? parseIpAddress(entry.address) : undefined
    if (ip !== undefined) found.push(ip)
    else {
      report(
        `status.addresses[${index}].address`,
        `${quote(entry.address)} is not an IP address; left out`,
      )
    }
  }
  return found
}

/** spec.podCIDRs, or the older spec.podCIDR alone. */
function podCidrsOf(node: V1Node, report: ReportField): string[] {
  const several = itemsOf(node.spec?.podCIDRs).map(([index, text]): [string, unknown] => [
    `spec.podCIDRs[${index}]`,
    text,
  ])
  const single = textOf(node.spec?.podCIDR)
  const fields: [string, unknown][] =
    several.length > 0 || single === undefined ? several : [['spec.podCIDR', single]]
  return fields.flatMap(([field, text]) => {
    const range = typeof text === 'string' ? parseIpRange(text) : undefined
    if (range !== undefined) return range.text
    report(field, `${quote(text)} is not a CIDR range; left out`)
    return []
  })
}
