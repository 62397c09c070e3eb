/**
 * `kube-sluice.io/...` annotations of Services that nobody reads: a slip of the pen would else go
 * unnoticed. Pure.
 */
import { nearestName } from '../lib/nearest-name.js'
import { WEIGHTS_ANNOTATION } from '../model/endpoint-weights.js'
import { ANNOTATION_PREFIX } from '../model/translate-service.js'
import type { AnnotationReader } from './annotation-problems.js'

/** What is read of a Service's annotations, without the prefix. */
export interface ServiceAnnotations {
  readonly names: readonly string[]
  /** Beginnings of names: whoever owns one reports what is wrong in it. */
  readonly families: readonly string[]
}

/** A reader that reports what is neither. */
export function unknownAnnotations({ names, families }: ServiceAnnotations): AnnotationReader {
  return ({ namespace, name, annotations }) =>
    Object.keys(annotations)
      .filter((annotation) => !names.includes(annotation))
      .filter((annotation) => !families.some((family) => annotation.startsWith(family)))
      .map((annotation) => ({
        object: `Service ${namespace}/${name}`,
        field: `metadata.annotations["${ANNOTATION_PREFIX}${annotation}"]`,
        message: messageFor(annotation, names),
      }))
}

function messageFor(annotation: string, names: readonly string[]): string {
  if (`${ANNOTATION_PREFIX}${annotation}` === WEIGHTS_ANNOTATION) {
    return 'belongs to the EndpointSlices of the Service; it is ignored here'
  }
  const nearest = nearestName(annotation, names)
  return `is not known and ignored${nearest === undefined ? '' : `; did you mean ${ANNOTATION_PREFIX}${nearest}?`}`
}
