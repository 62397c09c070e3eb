/** A change of health as a line for people: for the log and for events. */
import { servicePortName } from '../../model/service-port.js'
import type { HealthChange } from './health-monitor.js'

export interface ChangeDescription {
  /** Reason of an event: one word. */
  readonly reason:
    | 'EndpointHealthy'
    | 'EndpointUnhealthy'
    | 'HealthIgnored'
    | 'HealthObserved'
    | 'EndpointWarning'
    | 'EndpointEjected'
    | 'EndpointReturned'
  readonly message: string
  readonly isGood: boolean
}

export function describeChange(change: HealthChange): ChangeDescription {
  const name = servicePortName(change.servicePort)
  switch (change.type) {
    case 'endpoint': {
      const { endpoint, isUp, check, reason } = change
      return {
        reason: isUp ? 'EndpointHealthy' : 'EndpointUnhealthy',
        message: `endpoint ${endpoint.id} of ${name} is ${isUp ? 'up' : 'down'}, says its ${check.type} check: ${reason}`,
        isGood: isUp,
      }
    }
    case 'panic':
      return change.isPanicking
        ? {
            reason: 'HealthIgnored',
            message: `too few endpoints of ${name} are healthy: health is ignored and all of them are used`,
            isGood: false,
          }
        : {
            reason: 'HealthObserved',
            message: `enough endpoints of ${name} are healthy again: only they are used`,
            isGood: true,
          }
    case 'ejection': {
      const { endpoint, isEjected } = change
      return isEjected
        ? {
            reason: 'EndpointEjected',
            message: `endpoint ${endpoint.id} of ${name} does not take connections: it is passed over`,
            isGood: false,
          }
        : {
            reason: 'EndpointReturned',
            message: `endpoint ${endpoint.id} of ${name} takes connections again`,
            isGood: true,
          }
    }
    case 'warning':
      return {
        reason: 'EndpointWarning',
        message: `endpoint ${change.endpoint.id} of ${name}: ${change.reason}`,
        isGood: false,
      }
  }
}
