/**
 * Which balancer a Service port gets, and with which parameters: the Service's annotations
 * `kube-sluice.io/balancer` and `kube-sluice.io/balancer-...`, else the configuration. A bad
 * annotation costs the Service that setting, not its traffic. Pure: every node comes to the same.
 */
import { quote } from '../../model/object-fields.js'
import type { ServicePort } from '../../model/service-port.js'
import type { ObjectProblem } from '../../model/snapshot.js'
import { BALANCER_NAMES, isBalancerName, type BalancerName } from './registry.js'

/** Everything that a balancer of one Service port is made from. */
export interface BalancerSettings {
  readonly name: BalancerName
}

/** What the configuration says, for Services that say nothing. */
export type BalancerDefaults = BalancerSettings

export const BALANCER_DEFAULTS: BalancerDefaults = { name: 'round-robin' }

type Annotated = Pick<ServicePort, 'namespace' | 'name' | 'annotations'>

export interface ReadSettings {
  readonly settings: BalancerSettings
  readonly problems: readonly ObjectProblem[]
}

/** The settings of a Service port, and what is wrong with its annotations. */
export function readBalancerSettings(port: Annotated, defaults: BalancerDefaults): ReadSettings {
  const problems: ObjectProblem[] = []
  const object = `Service ${port.namespace}/${port.name}`
  const wanted = port.annotations['balancer']
  let name = defaults.name
  if (wanted !== undefined && isBalancerName(wanted)) {
    name = wanted
  } else if (wanted !== undefined) {
    problems.push({
      object,
      field: 'metadata.annotations["kube-sluice.io/balancer"]',
      message: `there is no balancer ${quote(wanted)}; ${name} is used, choose one of: ${BALANCER_NAMES.join(', ')}`,
    })
  }
  return { settings: { name }, problems }
}
