/** The three kinds that a proxy watches, and how each is asked for (reference 1.1). */
import type { ClusterObject, ObjectKind } from '../cluster-source.js'

export interface WatchedResource {
  readonly kind: ObjectKind
  readonly path: string
  readonly labelSelector: string | undefined
  readonly fieldSelector: string | undefined
}

/** Services, EndpointSlices and the Node of that name. */
export function watchedResources(nodeName: string): readonly WatchedResource[] {
  return [
    {
      kind: 'Service',
      path: '/api/v1/services',
      labelSelector: '!service.kubernetes.io/service-proxy-name',
      fieldSelector: 'spec.clusterIP!=None',
    },
    {
      kind: 'EndpointSlice',
      path: '/apis/discovery.k8s.io/v1/endpointslices',
      labelSelector: '!service.kubernetes.io/headless',
      fieldSelector: undefined,
    },
    {
      kind: 'Node',
      path: '/api/v1/nodes',
      labelSelector: undefined,
      fieldSelector: `metadata.name=${nodeName}`,
    },
  ]
}

/** Path and query of a request for the resource; a parameter that is undefined is left out. */
export function requestPath(
  resource: WatchedResource,
  parameters: Readonly<Record<string, string | undefined>>,
): string {
  const query = new URLSearchParams()
  const { labelSelector, fieldSelector } = resource
  for (const [name, value] of Object.entries({ labelSelector, fieldSelector, ...parameters })) {
    if (value !== undefined) query.set(name, value)
  }
  return `${resource.path}?${query.toString()}`
}

/** What a reflector looks at itself. */
export interface ReceivedObject {
  /** `namespace/name`; for a Node, its name. */
  readonly key: string
  readonly resourceVersion: string
  readonly annotations: Readonly<Record<string, unknown>>
  readonly current: ClusterObject
}

/**
 * An object as it was received; undefined when it has no name, so that nothing can be said about it.
 * Other fields are not looked at: the model takes any content, and says what is wrong with it.
 */
export function receivedObject(kind: ObjectKind, value: unknown): ReceivedObject | undefined {
  if (!isRecord(value)) return undefined
  const metadata = isRecord(value['metadata']) ? value['metadata'] : {}
  const { name, namespace, resourceVersion, annotations } = metadata
  if (typeof name !== 'string' || name === '') return undefined
  const key = kind !== 'Node' && typeof namespace === 'string' ? `${namespace}/${name}` : name
  return {
    key,
    resourceVersion: typeof resourceVersion === 'string' ? resourceVersion : '',
    annotations: isRecord(annotations) ? annotations : {},
    // Its fields are checked where they are read (model/object-fields.ts).
    current: { kind, object: value } as unknown as ClusterObject,
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
