/**
 * Whether a connection must reach its endpoint from an address of this node rather than from the
 * client's own. Source of the rules: kube-proxy pkg/proxy/iptables/proxier.go.
 */
import type { ServicePort } from './service-port.js'
import type { SourceKind, VipKind } from './vip.js'

export interface MasqueradeOptions {
  /** --masquerade-all */
  readonly masqueradeAll: boolean
  /** Whether anything tells pods from other sources (a cluster CIDR, this node's pod CIDRs). */
  readonly hasLocalDetector: boolean
}

export interface MasqueradeInput {
  readonly servicePort: Pick<ServicePort, 'externalPolicyLocal'>
  readonly kind: VipKind
  readonly source: SourceKind
  /** Whether the client is the endpoint. */
  readonly isHairpin: boolean
  readonly options: MasqueradeOptions
}

/**
 * True when the reply would not come back through this node otherwise:
 *
 *   hairpin            an endpoint that reaches itself would answer itself directly
 *   cluster IP         with masqueradeAll always, else from sources outside the pods' addresses;
 *                      without a detector these cannot be told, so never
 *   external, Cluster  always: the endpoint may be on another node
 *   external, Local    only for the node itself, which goes to any endpoint; pods route back by
 *                      themselves, and for all others the endpoint is here and sees their address
 */
export function needsMasquerade(input: MasqueradeInput): boolean {
  const { kind, source, options } = input
  if (input.isHairpin) return true
  if (kind === 'cluster-ip') {
    return options.masqueradeAll || (options.hasLocalDetector && source !== 'pod')
  }
  return !input.servicePort.externalPolicyLocal || source === 'node'
}
