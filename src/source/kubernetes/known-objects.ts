/**
 * The version of each object that was reported last, so that only differences are reported: a relist
 * of an unchanged cluster reports nothing, an event that comes twice counts once.
 * Memory: two short strings an object; the objects themselves are not kept.
 */
import type { ClusterChange, ObjectKind } from '../cluster-source.js'
import type { ReceivedObject } from './watched-resource.js'

export class KnownObjects {
  readonly #kind: ObjectKind
  readonly #report: (change: ClusterChange) => void
  /** Key -> resourceVersion. */
  readonly #versions = new Map<string, string>()
  /** What the list under way has had so far. */
  #listed: Set<string> | undefined

  constructor(kind: ObjectKind, report: (change: ClusterChange) => void) {
    this.#kind = kind
    this.#report = report
  }

  get size(): number {
    return this.#versions.size
  }

  /** A complete list begins; one that was under way is forgotten. */
  beginList(): void {
    this.#listed = new Set()
  }

  /** The list is complete: what it did not have is gone. */
  endList(): void {
    const listed = this.#listed
    this.#listed = undefined
    if (listed === undefined) return
    for (const key of this.#versions.keys()) if (!listed.has(key)) this.remove(key)
  }

  /** New, changed, or the same as before. */
  apply({ key, resourceVersion, current }: ReceivedObject): void {
    this.#listed?.add(key)
    if (this.isKnown(key, resourceVersion)) return
    this.#versions.set(key, resourceVersion)
    this.#report({ type: 'apply', key, current })
  }

  remove(key: string): void {
    this.#listed?.delete(key)
    if (this.#versions.delete(key)) this.#report({ type: 'delete', key, kind: this.#kind })
  }

  /** Whether this very version was reported; one without a version never was. */
  isKnown(key: string, resourceVersion: string): boolean {
    return resourceVersion !== '' && this.#versions.get(key) === resourceVersion
  }

  has(key: string): boolean {
    return this.#versions.has(key)
  }

  /** The history has another beginning: equal versions say nothing about equal content any more. */
  distrust(): void {
    for (const key of this.#versions.keys()) this.#versions.set(key, '')
  }
}
