/** The health monitor of a running proxy: each change is logged once, and is an event on its Service. */
import type { RunConfig } from '../config/run-config.js'
import type { Datapath } from '../datapath/datapath.js'
import type { RunningMode } from '../datapath/running-mode.js'
import { systemClock } from '../lib/clock.js'
import { probeSockets } from '../kernel/probe-sockets.js'
import { messageOf } from '../lib/errors.js'
import { servicePortName } from '../model/service-port.js'
import type { Snapshot } from '../model/snapshot.js'
import type { StatusInputs } from '../observe/build-status.js'
import type { Events } from '../observe/events.js'
import type { Logger } from '../observe/log.js'
import type { StatusPage } from '../observe/status-page/status-page.js'
import { describeChange } from '../policy/health/describe-change.js'
import { HealthMonitor, type HealthChange } from '../policy/health/health-monitor.js'
import { ProbeScope, type ReadConnections } from '../policy/health/probe-scope.js'
import { probeStarter } from '../policy/health/probe/start-probe.js'

export interface HealthContext {
  readonly log: Logger
  /** Rate-limited there, Service by Service. */
  readonly events: Pick<Events, 'warn' | 'normal'>
  readonly datapath: Pick<Datapath, 'endConnections'>
  readonly onStale: () => void
  readonly page: Pick<StatusPage, 'portChanged' | 'feed'>
  readonly readTraffic: () => ReadConnections
}

export function createHealthMonitor(
  { health, nodeName }: Pick<RunConfig, 'health' | 'nodeName'>,
  { log, events, datapath, onStale, page, readTraffic }: HealthContext,
): HealthMonitor {
  return new HealthMonitor({
    // Read where they are used: a changed configuration file changes them.
    defaults: health.defaults,
    get maxRunning() {
      return health.maxRunning
    },
    get panicPercent() {
      return health.panicPercent
    },
    scope: new ProbeScope({ config: health.scope, nodeName, readTraffic }),
    clock: systemClock,
    wallClock: () => new Date(),
    random: Math.random,
    startProbe: probeStarter(undefined, probeSockets),
    onStale,
    onChange: (change) => {
      reportChange({ log, events }, change)
      const { message, isGood } = describeChange(change)
      page.feed.add(isGood ? 'good' : 'bad', message)
      page.portChanged(change.servicePort.id)
    },
    endConnections: (servicePortId, endpoint) => {
      datapath.endConnections?.(servicePortId, endpoint).catch((error: unknown) => {
        log.warn(`connections to ${endpoint.id} could not be ended: ${messageOf(error)}`)
      })
    },
  })
}

/** Connections as the mode counts them; a mode that leaves them to the kernel knows nothing of them. */
export function trafficReader(
  mode: Pick<RunningMode, 'status'>,
  snapshot: () => Snapshot,
): () => ReadConnections {
  return () => {
    const { mode: name, traffic } = mode.status(snapshot())
    if (name !== 'userspace' && name !== 'nfqueue') return () => undefined
    return (servicePortId) => traffic.read(servicePortId).totalConnections
  }
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

/** One line of the log, and one event on the Service. */
export function reportChange(
  { log, events }: Pick<HealthContext, 'events'> & { readonly log: Pick<Logger, 'info' | 'warn'> },
  change: HealthChange,
): void {
  const { servicePort } = change
  const context = {
    servicePort: servicePortName(servicePort),
    ...('endpoint' in change ? { endpoint: change.endpoint.id } : {}),
    ...('reason' in change ? { reason: change.reason } : {}),
  }
  const { reason, message, isGood } = describeChange(change)
  const subject = {
    kind: 'Service',
    namespace: servicePort.namespace,
    name: servicePort.name,
  } as const
  const details = { action: 'CheckHealth', isLogged: true }
  if (isGood) {
    log.info(context, message)
    events.normal(subject, reason, message, details)
  } else {
    log.warn(context, message)
    events.warn(subject, reason, message, details)
  }
}
