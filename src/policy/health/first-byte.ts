/**
 * Endpoints that take connections and answer nothing: their process is stopped or hangs, and the kernel goes
 * on accepting for it, so no connect tells. A Service whose clients speak first may say how long an answer
 * can take, `kube-sluice.io/first-byte-timeout`; a connection that has waited for longer speaks against its
 * endpoint, unless that has answered another one since: then it is this request that is slow.
 *
 * Bound: one number for each endpoint that has answered.
 */
import { duration } from '../../config/value-type.js'
import { quote } from '../../model/object-fields.js'
import type { ServicePort } from '../../model/service-port.js'
import type { ObjectProblem } from '../../model/snapshot.js'
import { ANNOTATION_PREFIX } from '../../model/translate-service.js'
import type { Endpoint } from '../../model/endpoint.js'

export const FIRST_BYTE_ANNOTATION = 'first-byte-timeout'
const TIMEOUT = duration('10ms', '1h')

/** Milliseconds; 0: nobody waits for it, also where the annotation cannot be read. */
export function firstByteTimeout(port: Pick<ServicePort, 'annotations'>): number {
  const text = port.annotations[FIRST_BYTE_ANNOTATION]
  const parsed = text === undefined ? undefined : TIMEOUT.parse(text)
  return parsed !== undefined && 'value' in parsed ? parsed.value : 0
}

/** What is wrong with the annotation. */
export function firstByteProblems(
  port: Pick<ServicePort, 'annotations' | 'namespace' | 'name' | 'protocol'>,
): readonly ObjectProblem[] {
  const text = port.annotations[FIRST_BYTE_ANNOTATION]
  const parsed = text === undefined ? undefined : TIMEOUT.parse(text)
  if (text === undefined || parsed === undefined || 'value' in parsed) return []
  return [
    {
      object: `Service ${port.namespace}/${port.name}`,
      field: `metadata.annotations["${ANNOTATION_PREFIX}${FIRST_BYTE_ANNOTATION}"]`,
      message: `${quote(text)} ${parsed.problem}; no answer is waited for`,
    },
  ]
}

/** When the endpoints of one Service port answered last. */
export class FirstBytes {
  /** 0: nobody waits. */
  readonly timeoutMs: number
  readonly #lastMs = new Map<string, number>()

  constructor(timeoutMs: number) {
    this.timeoutMs = timeoutMs
  }

  /** The endpoint has said something to a client that had waited for it. */
  came({ id }: Endpoint, nowMs: number): void {
    this.#lastMs.set(id, nowMs)
  }

  /** A client has waited for the whole time-out: whether the endpoint has answered nobody meanwhile. */
  isMute({ id }: Endpoint, nowMs: number): boolean {
    return (this.#lastMs.get(id) ?? -Infinity) <= nowMs - this.timeoutMs
  }

  /** Forgets endpoints that are no longer there. */
  retain(endpoints: readonly Endpoint[]): void {
    if (this.#lastMs.size === 0) return
    const ids = new Set(endpoints.map(({ id }) => id))
    for (const id of this.#lastMs.keys()) if (!ids.has(id)) this.#lastMs.delete(id)
  }
}
