/**
 * Structural sharing: a value that equals its predecessor is replaced by it, so that `===` means
 * "unchanged" downstream. For the plain values of this folder: records, lists, byte arrays,
 * scalars; no cycles.
 */
import { sameEndpoint } from './compact-endpoint.js'
import type { Endpoint } from './endpoint.js'
import type { ServicePortState } from './snapshot.js'

/** `before` when the two are equal in depth, else `after`. */
export function share<T>(before: T | undefined, after: T): T {
  return before !== undefined && sameValue(before, after) ? before : after
}

/** Whether two plain values are equal in depth. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (isList(a) || isList(b)) return isList(a) && isList(b) && sameList(a, b)
  const keys = Object.keys(a)
  if (keys.length !== Object.keys(b).length) return false
  const left = a as Readonly<Record<string, unknown>>
  const right = b as Readonly<Record<string, unknown>>
  return keys.every((key) => Object.hasOwn(right, key) && sameValue(left[key], right[key]))
}

/** Endpoints (sorted by id) with every unchanged one, or the whole list, taken from before. */
export function shareEndpoints(
  before: readonly Endpoint[],
  after: readonly Endpoint[],
): readonly Endpoint[] {
  let position = 0
  const shared = after.map((endpoint) => {
    while ((before[position]?.id ?? endpoint.id) < endpoint.id) position++
    const old = before[position]
    return old !== undefined && sameEndpoint(old, endpoint) ? old : endpoint
  })
  return shareItems(before, shareItems(after, shared))
}

/** The old state when nothing of it changed; `after` has to share its endpoints with it already. */
export function shareState(
  before: ServicePortState | undefined,
  after: ServicePortState,
): ServicePortState {
  if (before === undefined) return after
  const shared: ServicePortState = {
    servicePort: share(before.servicePort, after.servicePort),
    endpoints: after.endpoints,
    cluster: shareItems(before.cluster, after.cluster),
    local: shareItems(before.local, after.local),
    reachable: shareItems(before.reachable, after.reachable),
    hasAny: after.hasAny,
  }
  const isSame =
    shared.servicePort === before.servicePort &&
    shared.endpoints === before.endpoints &&
    shared.cluster === before.cluster &&
    shared.local === before.local &&
    shared.reachable === before.reachable &&
    shared.hasAny === before.hasAny
  return isSame ? before : shared
}

/** The old list when it has the same items, by identity, in the same order. */
function shareItems<T>(before: readonly T[], after: readonly T[]): readonly T[] {
  const isSame =
    before.length === after.length && after.every((item, index) => item === before[index])
  return isSame ? before : after
}

type List = readonly unknown[] | Uint8Array

function isList(value: object): value is List {
  return Array.isArray(value) || value instanceof Uint8Array
}

function sameList(a: List, b: List): boolean {
  if (a.length !== b.length) return false
  for (let index = 0; index < a.length; index++) {
    if (!sameValue(a[index], b[index])) return false
  }
  return true
}
