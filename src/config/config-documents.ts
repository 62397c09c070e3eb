/**
 * The settings in force as the two documents that a configuration file can have, for /configz and
 * `--write-config-to`. Reading what is printed gives the same settings.
 */
import { yaml } from '../lib/yaml.js'
import { KUBE_PROXY_DOCUMENT, KUBE_SLUICE_DOCUMENT } from './config-file.js'
import { jsonOfText } from './json-shape.js'
import { KUBE_PROXY_ONLY } from './kube-proxy-only.js'
import { fileKeyOf, isInFile, type OptionRow } from './option-row.js'
import { OPTIONS, type OptionKey } from './options.js'
import type { ResolvedOptions } from './resolve-options.js'

interface Fields {
  [name: string]: unknown
}

const ROWS = Object.entries(OPTIONS) as [OptionKey, OptionRow][]

/** kube-proxy's document, complete: every field that v1alpha1 has. */
export function kubeProxyDocument({ texts, ignored }: ResolvedOptions): Readonly<Fields> {
  const document: Fields = { ...KUBE_PROXY_DOCUMENT }
  for (const { field, type, default: defaultText } of KUBE_PROXY_ONLY) {
    if (field === undefined) continue
    setField(document, field, jsonOfText(type.json, ignored.get(field) ?? defaultText))
  }
  for (const [key, row] of ROWS) {
    const text = texts.get(key) ?? ''
    for (const { field, json } of row.kubeProxy ?? []) {
      if (field === undefined) continue
      setField(document, field, json === undefined ? jsonOfText(row.type.json, text) : 0)
    }
  }
  return document
}

/** Our document: every option that has a value. */
export function kubeSluiceDocument({ texts }: ResolvedOptions): Readonly<Fields> {
  const document: Fields = { ...KUBE_SLUICE_DOCUMENT }
  for (const [key, row] of ROWS) {
    const text = texts.get(key)
    if (text !== undefined && isInFile(row)) {
      document[fileKeyOf(row)] = jsonOfText(row.type.json, text)
    }
  }
  return document
}

/** A file of both; where they have an option both, ours is the one that is read. */
export function configFileText(options: ResolvedOptions): string {
  return [kubeProxyDocument(options), kubeSluiceDocument(options)]
    .map((document) => yaml().stringify(document))
    .join('---\n')
}

function setField(document: Fields, path: string, value: unknown): void {
  const names = path.split('.')
  const last = names.pop() ?? ''
  let into = document
  for (const name of names) {
    const inner = (into[name] ?? {}) as Fields
    into[name] = inner
    into = inner
  }
  into[last] = value
}
