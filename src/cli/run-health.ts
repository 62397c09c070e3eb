/** The health monitor of a running proxy: what it finds is logged, once for each change. */
import type { RunConfig } from '../config/run-config.js'
import type { Datapath } from '../datapath/datapath.js'
import { systemClock } from '../lib/clock.js'
import { messageOf } from '../lib/errors.js'
import { servicePortName } from '../model/service-port.js'
import type { StatusInputs } from '../observe/build-status.js'
import type { Logger } from '../observe/log.js'
import type { StatusPage } from '../observe/status-page/status-page.js'
import { describeChange } from '../policy/health/describe-change.js'
import { HealthMonitor, type HealthChange } from '../policy/health/health-monitor.js'
import { probeStarter } from '../policy/health/probe/start-probe.js'

export interface HealthContext {
  readonly log: Logger
  readonly datapath: Pick<Datapath, 'endConnections'>
  readonly onStale: () => void
  readonly page: Pick<StatusPage, 'portChanged' | 'feed'>
}

export function createHealthMonitor(
  { health }: Pick<RunConfig, 'health'>,
  { log, datapath, onStale, page }: HealthContext,
): HealthMonitor {
  return new HealthMonitor({
    ...health,
    clock: systemClock,
    wallClock: () => new Date(),
    random: Math.random,
    startProbe: probeStarter(),
    onStale,
    onChange: (change) => {
      logChange(log, change)
      const { message, isGood } = describeChange(change)
      page.feed.add(isGood ? 'good' : 'bad', message)
      page.portChanged(change.servicePort.id)
    },
    endConnections: (servicePortId, endpoint) => {
      try {
        datapath.endConnections?.(servicePortId, endpoint)
      } catch (error) {
        log.warn(`connections to ${endpoint.id} could not be ended: ${messageOf(error)}`)
      }
    },
  })
}

/** Its part of the status. */
export function healthStatus(
  monitor: HealthMonitor,
): Pick<StatusInputs, 'health' | 'healthOf' | 'ejectedSince'> {
  return {
    health: { ...monitor.totals() },
    healthOf: (servicePortId, endpointId) => monitor.healthOf(servicePortId, endpointId),
    ejectedSince: (servicePortId, endpointId) => monitor.ejectedSince(servicePortId, endpointId),
  }
}

function logChange(log: Logger, change: HealthChange): void {
  const context = {
    servicePort: servicePortName(change.servicePort),
    ...('endpoint' in change ? { endpoint: change.endpoint.id } : {}),
    ...('reason' in change ? { reason: change.reason } : {}),
  }
  const { message, isGood } = describeChange(change)
  if (isGood) log.info(context, message)
  else log.warn(context, message)
}
