/** The annotation that keeps a Service out of the automatic switch: its connections are always decided here. */
import { quote } from '../../model/object-fields.js'
import type { ServicePort } from '../../model/service-port.js'
import type { ObjectProblem } from '../../model/snapshot.js'

export const STAY_ANNOTATION = 'stay-in-userspace'

/** Whether the Service says `kube-sluice.io/stay-in-userspace: "true"`. */
export function staysInUserspace({ annotations }: Pick<ServicePort, 'annotations'>): boolean {
  return annotations[STAY_ANNOTATION] === 'true'
}

/** What is wrong with the annotation of a Service. */
export function stayProblems({ namespace, name, annotations }: ServicePort): ObjectProblem[] {
  const text = annotations[STAY_ANNOTATION]
  if (text === undefined || text === 'true' || text === 'false') return []
  return [
    {
      object: `Service ${namespace}/${name}`,
      field: `metadata.annotations["kube-sluice.io/${STAY_ANNOTATION}"]`,
      message: `${quote(text)} is not "true" or "false"; the Service follows the automatic switch`,
    },
  ]
}
