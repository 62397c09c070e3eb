/** Which IPVS scheduler serves a Service port. Pure. */
import type { ServicePort } from '../../model/service-port.js'
import { type BalancerName, isBalancerName } from '../../policy/balancer/registry.js'

export interface Scheduler {
  readonly scheduler: string
  /** As ipvsadm prints them, sorted. */
  readonly flags: readonly string[]
}

/** Balancers that the kernel has too. The others need userspace. */
const SCHEDULER_OF_BALANCER: ReadonlyMap<string, string> = new Map([
  ['round-robin', 'rr'],
  ['weighted-round-robin', 'wrr'],
  ['least-connections', 'lc'],
  ['weighted-least-connections', 'wlc'],
  ['source-hash', 'sh'],
  ['maglev', 'mh'],
])

/**
 * Without the fallback flags a hashing scheduler refuses the clients of a server that drains; with
 * mh-port a client's connections are spread, as kube-proxy has it (flag 0x10).
 */
const FLAGS: ReadonlyMap<string, readonly string[]> = new Map([
  ['sh', ['sh-fallback']],
  ['mh', ['mh-fallback', 'mh-port']],
])

/** Schedulers that know no weight but 0, and those that are the same with weights. */
const WEIGHTED: ReadonlyMap<string, string> = new Map([
  ['rr', 'wrr'],
  ['lc', 'wlc'],
])

/**
 * The scheduler that the annotation kube-sluice.io/balancer amounts to; without one the default,
 * in its weighted form where the weights differ.
 * @returns with `unknown` when the kernel has none for the balancer and the default stands in
 */
export function schedulerFor(
  { annotations }: Pick<ServicePort, 'annotations'>,
  weights: readonly number[],
  defaultScheduler: string,
): Scheduler & { readonly unknown?: string } {
  const annotation = annotations['balancer']
  // A name that nobody has is told where annotations are read.
  const balancer =
    annotation !== undefined && isBalancerName(annotation, true) ? annotation : undefined
  const named = balancer === undefined ? undefined : SCHEDULER_OF_BALANCER.get(balancer)
  if (named !== undefined) return withFlags(named)
  const distinct = new Set(weights.filter((weight) => weight > 0))
  const weighted = distinct.size > 1 ? WEIGHTED.get(defaultScheduler) : undefined
  const chosen = withFlags(weighted ?? defaultScheduler)
  return balancer === undefined ? chosen : { ...chosen, unknown: balancer }
}

/** The scheduler for Services without the annotation: as configured, else as the default balancer. */
export function defaultScheduler(configured: string, balancer: BalancerName): string {
  return configured === '' ? (SCHEDULER_OF_BALANCER.get(balancer) ?? 'rr') : configured
}

function withFlags(scheduler: string): Scheduler {
  return { scheduler, flags: FLAGS.get(scheduler) ?? [] }
}
