/**
 * What is wrong with the `kube-sluice.io/...` annotations of Services: whoever owns an annotation
 * reads it where it is used, in whichever thread, and says nothing; the problems are gathered here,
 * once, where objects come in.
 */
import type { ServicePort } from '../model/service-port.js'
import type { ObjectProblem, Snapshot } from '../model/snapshot.js'

/** Reads the annotations of a Service port for their problems. */
export type AnnotationReader = (servicePort: ServicePort) => readonly ObjectProblem[]

/** Problems that Services have now and did not have in the Snapshot before, each once. */
export function newAnnotationProblems(
  before: Snapshot,
  after: Snapshot,
  readers: readonly AnnotationReader[],
): ObjectProblem[] {
  const read = (port: ServicePort | undefined): ObjectProblem[] =>
    port === undefined ? [] : readers.flatMap((reader) => reader(port))
  const found = new Map<string, ObjectProblem>()
  for (const change of before.servicePorts.differences(after.servicePorts)) {
    const [old, now] = [change.before?.servicePort, change.after?.servicePort]
    if (now === undefined || old === now) continue
    const known = new Set(read(old).map(textOf))
    for (const problem of read(now)) {
      const text = textOf(problem)
      // A Service has a port for each name, protocol and family: they all say the same.
      if (!known.has(text)) found.set(text, problem)
    }
  }
  return [...found.values()]
}

function textOf({ object, field, message }: ObjectProblem): string {
  return `${object} ${field} ${message}`
}
