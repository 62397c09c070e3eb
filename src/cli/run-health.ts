/** The health monitor of a running proxy: what it finds is logged, once for each change. */
import type { RunConfig } from '../config/run-config.js'
import type { Datapath } from '../datapath/datapath.js'
import { systemClock } from '../lib/clock.js'
import { servicePortName } from '../model/service-port.js'
import type { StatusInputs } from '../observe/build-status.js'
import type { Logger } from '../observe/log.js'
import { describeChange } from '../policy/health/describe-change.js'
import { HealthMonitor, type HealthChange } from '../policy/health/health-monitor.js'
import { startProbe } from '../policy/health/probe/start-probe.js'

export interface HealthContext {
  readonly log: Logger
  readonly datapath: Pick<Datapath, 'endConnections'>
  readonly onStale: () => void
}

export function createHealthMonitor(
  { health }: Pick<RunConfig, 'health'>,
  { log, datapath, onStale }: HealthContext,
): HealthMonitor {
  return new HealthMonitor({
    ...health,
    clock: systemClock,
    wallClock: () => new Date(),
    random: Math.random,
    startProbe,
    onStale,
    onChange: (change) => {
      logChange(log, change)
    },
    endConnections: (servicePortId, endpoint) => {
      datapath.endConnections?.(servicePortId, endpoint)
    },
  })
}

/** Its part of the status. */
export function healthStatus(monitor: HealthMonitor): Pick<StatusInputs, 'health' | 'healthOf'> {
  return {
    health: { ...monitor.totals() },
    healthOf: (servicePortId, endpointId) => monitor.healthOf(servicePortId, endpointId),
  }
}

function logChange(log: Logger, change: HealthChange): void {
  const context = {
    servicePort: servicePortName(change.servicePort),
    ...(change.type === 'panic' ? {} : { endpoint: change.endpoint.id, reason: change.reason }),
  }
  const { message, isGood } = describeChange(change)
  if (isGood) log.info(context, message)
  else log.warn(context, message)
}
