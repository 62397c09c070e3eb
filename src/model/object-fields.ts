/**
 * Reading fields of API objects that nobody has validated. The types say what a field should hold;
 * these functions check it, so that the translators never throw on what a file or a server sends
 * and a bad field costs only itself.
 */
import type { V1ObjectMeta } from '@kubernetes/client-node'
import type { ObjectProblem } from './snapshot.js'

/** Takes note of a field that was left out or replaced. */
export type ReportField = (field: string, message: string) => void

export interface ObjectIdentity {
  readonly namespace: string
  readonly name: string
}

/**
 * What may be a name. Wider than the API's per-kind rules, but enough to keep `/`, `:`, blanks and
 * quotes out of ids, rule comments and log lines.
 */
const OBJECT_NAME = /^[a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?$/

export function isObjectName(value: unknown): value is string {
  return typeof value === 'string' && OBJECT_NAME.test(value)
}

/** What a translator begins with: whose object it is, and where its problems go. */
export interface Reporting {
  /** undefined when namespace or name cannot be a name. */
  readonly identity: ObjectIdentity | undefined
  readonly problems: ObjectProblem[]
  readonly report: ReportField
}

/** Begins the translation of an object of that kind; problems carry `KIND namespace/name`. */
export function reportingFor(kind: string, metadata: V1ObjectMeta | undefined): Reporting {
  const problems: ObjectProblem[] = []
  const identity = identityOf(metadata)
  const name = identity === undefined ? '(unnamed)' : `${identity.namespace}/${identity.name}`
  const report: ReportField = (field, message) => {
    const uid = metadata?.uid
    const problem = { object: `${kind} ${name}`, field, message }
    problems.push(typeof uid === 'string' ? { ...problem, uid } : problem)
  }
  return { identity, problems, report }
}

/** Namespace (`default` when absent) and name, or undefined when one of them cannot be a name. */
export function identityOf(metadata: V1ObjectMeta | undefined): ObjectIdentity | undefined {
  const name = metadata?.name
  const namespace = metadata?.namespace ?? 'default'
  return isObjectName(name) && isObjectName(namespace) ? { namespace, name } : undefined
}

/** The items with their index (for field paths); none unless it is an array, and never a null item. */
export function itemsOf<T>(list: readonly T[] | undefined): (readonly [number, T])[] {
  if (!Array.isArray(list)) return []
  return [...(list as readonly T[]).entries()].filter(
    ([, item]) => item !== null && item !== undefined,
  )
}

/** The text, or undefined when it is empty or no text. */
export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** Whether a label or annotation exists, with any value. */
export function hasKey(record: Readonly<Record<string, string>> | undefined, key: string): boolean {
  return record?.[key] !== undefined
}

/** Whether it is a port number that something can listen on: 1..65535. */
export function isPort(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65535
}

/** A value for a message: quoted text, bounded in length; the inside of objects is nobody's business. */
export function quote(value: unknown): string {
  if (value === undefined || value === null) return '(none)'
  if (Array.isArray(value)) return '(a list)'
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (typeof value !== 'string') return `(${typeof value})`
  const text = JSON.stringify(value)
  return text.length > 80 ? `${text.slice(0, 77)}...` : text
}
