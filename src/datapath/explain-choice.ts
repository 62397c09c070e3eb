/** How each mode picks one of several endpoints, in words: for `explain`. Pure. */
import type { RunConfig } from '../config/run-config.js'
import type { Endpoint } from '../model/endpoint.js'
import type { ServicePort } from '../model/service-port.js'
import type { Choice } from '../observe/explain/candidates.js'
import type { BalancerName } from '../policy/balancer/registry.js'
import { readBalancerSettings } from '../policy/balancer/settings.js'
import { defaultScheduler, schedulerFor } from './ipvs/scheduler.js'

const BALANCERS: Readonly<Record<BalancerName, Omit<Choice, 'name'>>> = {
  'round-robin': { isWeighted: false, how: 'in turn' },
  'weighted-round-robin': { isWeighted: true, how: 'in turn, by weight' },
  'least-connections': { isWeighted: false, how: 'the one with the fewest open connections' },
  'weighted-least-connections': {
    isWeighted: true,
    how: 'the one with the fewest open connections for its weight',
  },
  'random-two': { isWeighted: true, how: 'the less busy of two that are drawn by weight' },
  'peak-ewma': { isWeighted: true, how: 'the quicker of two that are drawn by weight' },
  maglev: { isWeighted: true, how: "by a hash of the client's address" },
  'source-hash': {
    isWeighted: true,
    how: "by a hash of the client's address, unless that endpoint has more than its share open",
  },
  plugin: { isWeighted: false, how: 'as the plug-in likes' },
}

/** Of ip_vs: what the kernel's scheduler goes by. */
const SCHEDULERS: Readonly<Record<string, Omit<Choice, 'name'>>> = {
  rr: { isWeighted: false, how: 'in turn' },
  wrr: { isWeighted: true, how: 'in turn, by weight' },
  lc: { isWeighted: false, how: 'the one with the fewest connections' },
  wlc: { isWeighted: true, how: 'the one with the fewest connections for its weight' },
  sed: { isWeighted: true, how: 'the one with the shortest expected delay' },
  nq: { isWeighted: true, how: 'an idle one, else the one with the shortest expected delay' },
  sh: { isWeighted: true, how: "by a hash of the client's address" },
  mh: { isWeighted: true, how: "by a hash of the client's address and port" },
}

export function choiceOf(
  mode: string,
  servicePort: ServicePort,
  {
    endpoints,
    config,
  }: {
    readonly endpoints: readonly Endpoint[]
    readonly config: Pick<RunConfig, 'balancers' | 'ipvs'>
  },
): Choice {
  if (mode === 'iptables' || mode === 'nftables') {
    return { name: 'random', isWeighted: true, how: 'by chance, by weight' }
  }
  if (mode === 'ipvs') {
    const byDefault = defaultScheduler(config.ipvs.scheduler, config.balancers.name)
    const weights = endpoints.map(({ weight }) => weight)
    const { scheduler } = schedulerFor(servicePort, weights, byDefault)
    return {
      name: scheduler,
      ...(SCHEDULERS[scheduler] ?? { isWeighted: true, how: 'as ip_vs does' }),
    }
  }
  const { name, hashesPort } = readBalancerSettings(servicePort, config.balancers).settings
  const how = name === 'maglev' && hashesPort ? `${BALANCERS.maglev.how} and port` : undefined
  return { name, ...BALANCERS[name], ...(how !== undefined && { how }) }
}
