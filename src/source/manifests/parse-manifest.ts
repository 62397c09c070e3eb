/**
 * The objects of one manifest file: YAML or JSON, several documents, Lists. What is wrong with a
 * document is reported with its line and field; the other documents are used all the same.
 */
import type { V1EndpointSlice } from '@kubernetes/client-node'
import { type Document, type LineCounter, yaml } from '../../lib/yaml.js'
import { messageOf } from '../../lib/errors.js'
import type { ClusterObject } from '../cluster-source.js'
import { problemOf } from './validate-object.js'

export interface ParsedObject {
  readonly kind: ClusterObject['kind']
  /** `namespace/name`; for a Node, its name. */
  readonly key: string
  /** undefined when the object is broken: its last good version stays in force. */
  readonly current: ClusterObject | undefined
}

export interface ParsedManifest {
  readonly objects: readonly ParsedObject[]
  /** `LINE: what`, in the order of the file. */
  readonly problems: readonly string[]
  /** A document could not be read at all, so it is not known which objects it has. */
  readonly hasUnreadable: boolean
}

interface RawObject {
  readonly apiVersion?: unknown
  readonly kind?: unknown
  readonly items?: unknown
  readonly metadata?: { readonly name?: unknown; readonly namespace?: unknown }
}

/** Never throws. */
export function parseManifest(text: string): ParsedManifest {
  return parseJson(text) ?? parseYaml(text)
}

/**
 * JSON is YAML, but a file of 250,000 endpoints takes the YAML parser twenty seconds and a gigabyte.
 * Its places are looked up when there is something to report. undefined: it is not JSON.
 */
function parseJson(text: string): ParsedManifest | undefined {
  if (!/^\s*[{[]/.test(text)) return undefined
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  const objects: ParsedObject[] = []
  const problems: string[] = []
  let places: Places | undefined
  const placesOf = (): Places => {
    if (places !== undefined) return places
    const lines = new (yaml().LineCounter)()
    return (places = { document: documentsOf(text, lines)[0], lines })
  }
  readObject(value, [], { placesOf, objects, problems })
  return { objects, problems, hasUnreadable: false }
}

function parseYaml(text: string): ParsedManifest {
  const lines = new (yaml().LineCounter)()
  const objects: ParsedObject[] = []
  const problems: string[] = []
  let hasUnreadable = false
  for (const document of documentsOf(text, lines)) {
    const [error] = document.errors
    if (error !== undefined) {
      hasUnreadable = true
      const said = error.message.split('\n', 1)[0] ?? 'syntax error'
      problems.push(`${lines.linePos(error.pos[0]).line}: ${said.replace(/:$/, '')}`)
      continue
    }
    let value: unknown
    try {
      value = document.toJS({ maxAliasCount: 100 })
    } catch (thrown) {
      hasUnreadable = true
      problems.push(`1: ${messageOf(thrown)}`)
      continue
    }
    readObject(value, [], { placesOf: () => ({ document, lines }), objects, problems })
  }
  return { objects, problems, hasUnreadable }
}

function documentsOf(text: string, lines: LineCounter): Document[] {
  const documents = yaml().parseAllDocuments(text, { lineCounter: lines, prettyErrors: false })
  return Array.isArray(documents) ? (documents as Document[]) : []
}

/** Where the fields of a document are. */
interface Places {
  readonly document: Document | undefined
  readonly lines: LineCounter
}

interface Reading {
  readonly placesOf: () => Places
  readonly objects: ParsedObject[]
  readonly problems: string[]
}

type Path = readonly (string | number)[]

function readObject(value: unknown, path: Path, reading: Reading): void {
  if (value === null || value === undefined) return
  if (typeof value !== 'object' || Array.isArray(value)) {
    report(reading, path, 'a Kubernetes object is expected, with apiVersion, kind and metadata')
    return
  }
  const raw = value as RawObject
  const { kind } = raw
  if (typeof kind !== 'string') {
    report(reading, path, 'kind is missing: a Kubernetes object is expected')
    return
  }
  if (kind.endsWith('List')) {
    const items: unknown[] = Array.isArray(raw.items) ? (raw.items as unknown[]) : []
    items.forEach((item, index) => {
      readObject(withKind(item, kind), [...path, 'items', index], reading)
    })
    return
  }
  if (kind !== 'Service' && kind !== 'EndpointSlice' && kind !== 'Node') return
  readKnown(kind, raw, path, reading)
}

/** Items of a ServiceList may leave their kind out, as the API server does. */
function withKind(item: unknown, listKind: string): unknown {
  const kind = listKind.slice(0, -'List'.length)
  if (kind === '' || typeof item !== 'object' || item === null || 'kind' in item) return item
  return { ...item, kind }
}

function readKnown(
  kind: ClusterObject['kind'],
  raw: RawObject,
  path: Path,
  reading: Reading,
): void {
  const name = raw.metadata?.name
  if (typeof name !== 'string' || name === '') {
    report(reading, [...path, 'metadata', 'name'], `${kind}: metadata.name: must be a name`)
    return
  }
  const given = raw.metadata?.namespace
  const namespace = typeof given === 'string' && given !== '' ? given : 'default'
  const key = kind === 'Node' ? name : `${namespace}/${name}`
  const problem = problemOf(kind, raw)
  if (problem !== undefined) {
    const field = problem.path
      .map((part) => (typeof part === 'number' ? `[${part}]` : `.${part}`))
      .join('')
      .slice(1)
    report(reading, [...path, ...problem.path], `${kind} ${key}: ${field}: ${problem.message}`)
    reading.objects.push({ kind, key, current: undefined })
    return
  }
  const metadata = { ...raw.metadata, ...(kind === 'Node' ? {} : { namespace }) }
  reading.objects.push({ kind, key, current: typed(kind, { ...raw, metadata }) })
}

/** The fields that are used were checked by problemOf; the others are never looked at. */
function typed(kind: ClusterObject['kind'], object: object): ClusterObject {
  switch (kind) {
    case 'Service':
      return { kind, object: object }
    case 'EndpointSlice':
      return { kind, object: object as V1EndpointSlice }
    case 'Node':
      return { kind, object: object }
  }
}

/** The line is that of the field, or of the nearest thing around it that is there. */
function report({ placesOf, problems }: Reading, path: Path, message: string): void {
  const { document, lines } = placesOf()
  for (let length = path.length; length >= 0; length--) {
    const node = length === 0 ? document?.contents : document?.getIn(path.slice(0, length), true)
    if (yaml().isNode(node) && node.range) {
      problems.push(`${lines.linePos(node.range[0]).line}: ${message}`)
      return
    }
  }
  problems.push(`1: ${message}`)
}
