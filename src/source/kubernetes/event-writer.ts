/** Writes Events (events.k8s.io/v1) to the API server. */
import { ApiError } from './api-error.js'
import type { ApiClient } from './api-client.js'

const WRITE_TIMEOUT_MS = 10_000
const CONTROLLER = 'kube-sluice'
const API_VERSIONS: Readonly<Record<string, string>> = {
  Service: 'v1',
  EndpointSlice: 'discovery.k8s.io/v1',
  Node: 'v1',
}

/** The fields of observe/events.ts's EventRecord that an Event is made of. */
export interface WritableEvent {
  readonly type: string
  readonly subject: {
    readonly kind: string
    readonly namespace?: string
    readonly name: string
    readonly uid?: string
  }
  readonly reason: string
  readonly action: string
  readonly note: string
  readonly name: string
  readonly firstAt: Date
  readonly lastAt: Date
  readonly count: number
}

/** A function that writes one event: a new one, or the series of one that is there. */
export function eventWriter(
  client: ApiClient,
  nodeName: string,
): (event: WritableEvent) => Promise<void> {
  return async (event) => {
    const folder = `/apis/events.k8s.io/v1/namespaces/${namespaceOf(event)}/events`
    const signal = AbortSignal.timeout(WRITE_TIMEOUT_MS)
    if (event.count > 1) {
      const contentType = 'application/merge-patch+json'
      const path = `${folder}/${event.name}`
      try {
        const body = { series: seriesOf(event) }
        await client.call({ method: 'PATCH', path, body, contentType, signal })
        return
      } catch (error) {
        // Events live an hour; what has gone begins anew.
        if (!(error instanceof ApiError && error.status === 404)) throw error
      }
    }
    await client.call({ method: 'POST', path: folder, body: eventObject(event, nodeName), signal })
  }
}

/** Events of objects without a namespace are in `default`. */
function namespaceOf({ subject }: WritableEvent): string {
  return subject.namespace ?? 'default'
}

function eventObject(event: WritableEvent, nodeName: string): object {
  const { type, subject, reason, action, note, name, firstAt, count } = event
  return {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: { name, namespace: namespaceOf(event) },
    eventTime: microTime(firstAt),
    reportingController: CONTROLLER,
    reportingInstance: nodeName,
    type,
    reason,
    action,
    note,
    regarding: { apiVersion: API_VERSIONS[subject.kind], ...subject },
    ...(count > 1 ? { series: seriesOf(event) } : {}),
  }
}

function seriesOf({ count, lastAt }: WritableEvent): object {
  return { count, lastObservedTime: microTime(lastAt) }
}

/** metav1.MicroTime: six digits, no fewer. */
function microTime(date: Date): string {
  return date.toISOString().replace('Z', '000Z')
}
