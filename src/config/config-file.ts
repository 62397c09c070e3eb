/**
 * Reading a configuration file: YAML or JSON, with up to two documents.
 *
 *   kubeproxy.config.k8s.io/v1alpha1  KubeProxyConfiguration   kube-proxy's own, as it is
 *   kube-sluice.io/v1alpha1           KubeSluiceConfiguration  every option, flag names in camelCase
 *
 * Decoding is strict: an unknown field is a problem with its path and the nearest known name. What
 * the values may be is left to resolve-options.ts; here only their JSON type is looked at.
 */
import { type Document, type LineCounter, yaml } from '../lib/yaml.js'
import { messageOf } from '../lib/errors.js'
import { nearestName } from '../lib/nearest-name.js'
import { shown, textOfJson, type JsonShape } from './json-shape.js'
import { KUBE_PROXY_ONLY } from './kube-proxy-only.js'
import { fileKeyOf, isInFile, type OptionRow } from './option-row.js'
import { OPTIONS } from './options.js'

export const KUBE_PROXY_DOCUMENT = {
  apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
  kind: 'KubeProxyConfiguration',
} as const
export const KUBE_SLUICE_DOCUMENT = {
  apiVersion: 'kube-sluice.io/v1alpha1',
  kind: 'KubeSluiceConfiguration',
} as const

/** One field of a file. */
export interface FileSetting {
  readonly text: string
  /** `FILE:LINE: KIND FIELD`, for messages. */
  readonly where: string
  /** 0, `0s` or '': most fields of kube-proxy mean their default by it. */
  readonly isZero: boolean
}

export interface ConfigFile {
  /** By fileKeyOf. */
  readonly ours: ReadonlyMap<string, FileSetting>
  /** By path in KubeProxyConfiguration. */
  readonly kubeProxy: ReadonlyMap<string, FileSetting>
  /** A line each, in the order of the file. */
  readonly problems: readonly string[]
}

type Shapes = ReadonlyMap<string, JsonShape>

interface Reading {
  readonly name: string
  readonly kind: string
  readonly document: Document
  readonly lines: LineCounter
  readonly shapes: Shapes
  readonly settings: Map<string, FileSetting>
  readonly problems: string[]
}

/** Decodes the text of a file. Never throws. */
export function readConfigFile(name: string, text: string): ConfigFile {
  const lines = new (yaml().LineCounter)()
  const problems: string[] = []
  const ours = new Map<string, FileSetting>()
  const kubeProxy = new Map<string, FileSetting>()
  const seen = new Set<string>()
  for (const document of documentsOf(text, lines)) {
    const value = valueOf(name, document, lines, problems)
    if (value === undefined || value === null) continue
    const line = lineOf(document, lines, [])
    const kind = kindOf(value)
    if (kind === undefined) {
      problems.push(`${name}:${line}: ${unknownDocument(value)}`)
      continue
    }
    if (seen.has(kind)) problems.push(`${name}:${line}: a second ${kind}; keep one`)
    seen.add(kind)
    const isOurs = kind === KUBE_SLUICE_DOCUMENT.kind
    const shapes = isOurs ? OUR_SHAPES : KUBE_PROXY_SHAPES
    const settings = isOurs ? ours : kubeProxy
    readMap(value, [], { name, kind, document, lines, shapes, settings, problems })
  }
  if (seen.size === 0 && problems.length === 0) {
    problems.push(
      `${name}: holds no configuration: a ${KUBE_PROXY_DOCUMENT.kind} or a ${KUBE_SLUICE_DOCUMENT.kind} is expected`,
    )
  }
  return { ours, kubeProxy, problems }
}

const rows = Object.values<OptionRow>(OPTIONS)
/** Fields of our document. */
export const OUR_SHAPES: Shapes = new Map(
  rows.filter(isInFile).map((row) => [fileKeyOf(row), row.type.json]),
)
/** Fields of kube-proxy's document, by path. */
export const KUBE_PROXY_SHAPES: Shapes = new Map([
  ...rows.flatMap(({ kubeProxy = [], type }) =>
    kubeProxy.flatMap(({ field, json }): [string, JsonShape][] =>
      field === undefined ? [] : [[field, json ?? openShape(type.json)]],
    ),
  ),
  ...KUBE_PROXY_ONLY.flatMap(({ field, type }): [string, JsonShape][] =>
    field === undefined ? [] : [[field, type.json]],
  ),
])

/** Without what `parse` checks with a better message. */
function openShape({ type, items }: JsonShape): JsonShape {
  return { type, ...(items === undefined ? {} : { items }) }
}

function documentsOf(text: string, lines: LineCounter): Document[] {
  const documents = yaml().parseAllDocuments(text, { lineCounter: lines, prettyErrors: false })
  return Array.isArray(documents) ? (documents as Document[]) : []
}

function valueOf(
  name: string,
  document: Document,
  lines: LineCounter,
  problems: string[],
): unknown {
  for (const error of document.errors) {
    const said = (error.message.split('\n', 1)[0] ?? 'syntax error').replace(/:$/, '')
    problems.push(`${name}:${lines.linePos(error.pos[0]).line}: ${said}`)
  }
  if (document.errors.length > 0) return undefined
  try {
    return document.toJS({ maxAliasCount: 100 })
  } catch (error) {
    problems.push(`${name}: ${messageOf(error)}`)
    return undefined
  }
}

function kindOf(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { apiVersion, kind } = value as { apiVersion?: unknown; kind?: unknown }
  return [KUBE_PROXY_DOCUMENT, KUBE_SLUICE_DOCUMENT].find(
    (known) => known.apiVersion === apiVersion && known.kind === kind,
  )?.kind
}

function unknownDocument(value: unknown): string {
  const { apiVersion, kind } = Object(value) as { apiVersion?: unknown; kind?: unknown }
  const known = [KUBE_PROXY_DOCUMENT, KUBE_SLUICE_DOCUMENT]
    .map((document) => `${document.apiVersion} ${document.kind}`)
    .join(', ')
  return `apiVersion ${shown(apiVersion)}, kind ${shown(kind)} is not a configuration of this program (allowed: ${known})`
}

type Path = readonly string[]

function readMap(value: unknown, path: Path, reading: Reading): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    if (value !== null) report(reading, path, `${shown(value)} is not a map`)
    return
  }
  for (const [key, inner] of Object.entries(value)) {
    if (path.length === 0 && (key === 'apiVersion' || key === 'kind')) continue
    const innerPath = [...path, key]
    const field = innerPath.join('.')
    const shape = reading.shapes.get(field)
    if (shape !== undefined) readField(inner, innerPath, shape, reading)
    else if (isPrefix(field, reading.shapes)) readMap(inner, innerPath, reading)
    else report(reading, innerPath, `is not a known field${hint(key, path, reading)}`)
  }
}

function readField(value: unknown, path: Path, shape: JsonShape, reading: Reading): void {
  if (value === null) return // As if it were not there.
  const read = textOfJson(shape, value)
  if ('problem' in read) {
    report(reading, path, `${shown(value)} ${read.problem}`)
    return
  }
  reading.settings.set(path.join('.'), {
    text: read.text,
    where: where(reading, path),
    isZero: value === 0 || value === '' || (typeof value === 'string' && /^0[a-z]*$/.test(value)),
  })
}

function isPrefix(field: string, shapes: Shapes): boolean {
  return [...shapes.keys()].some((known) => known.startsWith(`${field}.`))
}

function hint(key: string, path: Path, { kind, shapes }: Reading): string {
  const prefix = path.map((part) => `${part}.`).join('')
  const siblings = [...shapes.keys()]
    .filter((field) => field.startsWith(prefix))
    .map((field) => field.slice(prefix.length).split('.', 1)[0] ?? '')
  const nearest = nearestName(key, siblings)
  if (nearest !== undefined) return `; did you mean ${nearest}?`
  const isOurs = kind === KUBE_PROXY_DOCUMENT.kind && OUR_SHAPES.has(key)
  return isOurs ? `; it belongs in a ${KUBE_SLUICE_DOCUMENT.kind} document` : ''
}

function report(reading: Reading, path: Path, message: string): void {
  reading.problems.push(`${where(reading, path)} ${message}`)
}

function where({ name, kind, document, lines }: Reading, path: Path): string {
  return `${name}:${lineOf(document, lines, path)}: ${kind} ${path.join('.')}`.trimEnd()
}

/** The line of the field, or of the nearest thing around it that is there. */
function lineOf(document: Document, lines: LineCounter, path: Path): number {
  for (let length = path.length; length >= 0; length--) {
    const node: unknown =
      length === 0 ? document.contents : document.getIn(path.slice(0, length), true)
    if (yaml().isNode(node) && node.range) return lines.linePos(node.range[0]).line
  }
  return 1
}
