/**
 * JSON Schema of the configuration file, made from the table of options: of one document of it, for
 * editors and for checks without this program. deploy/kube-sluice-config.schema.json is its print.
 */
import { KUBE_PROXY_DOCUMENT, KUBE_PROXY_SHAPES, KUBE_SLUICE_DOCUMENT } from './config-file.js'
import { jsonOfText, type JsonShape } from './json-shape.js'
import { KUBE_PROXY_ONLY } from './kube-proxy-only.js'
import { fileKeyOf, isInFile, type OptionRow } from './option-row.js'
import { OPTIONS } from './options.js'

interface Schema {
  [keyword: string]: unknown
}

/** The schema as an object, with keys in a fixed order. */
export function configSchema(): Readonly<Schema> {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Configuration of kube-sluice',
    description: 'One document of a configuration file; a file may have one of each kind.',
    oneOf: [
      { $ref: `#/$defs/${KUBE_SLUICE_DOCUMENT.kind}` },
      { $ref: `#/$defs/${KUBE_PROXY_DOCUMENT.kind}` },
    ],
    $defs: {
      [KUBE_SLUICE_DOCUMENT.kind]: ourSchema(),
      [KUBE_PROXY_DOCUMENT.kind]: kubeProxySchema(),
    },
  }
}

function ourSchema(): Schema {
  const properties: Schema = identity(KUBE_SLUICE_DOCUMENT)
  for (const row of Object.values<OptionRow>(OPTIONS).filter(isInFile)) {
    properties[fileKeyOf(row)] = {
      description: `${row.help[0]?.toUpperCase() ?? ''}${row.help.slice(1)}.`,
      ...nullable(row.type.json),
      ...(row.default === undefined ? {} : { default: jsonOfText(row.type.json, row.default) }),
    }
  }
  return closed(properties)
}

function kubeProxySchema(): Schema {
  const root = closed(identity(KUBE_PROXY_DOCUMENT))
  const effects = descriptions()
  for (const [path, shape] of KUBE_PROXY_SHAPES) {
    const names = path.split('.')
    const last = names.pop() ?? ''
    let into = root['properties'] as Schema
    for (const name of names) {
      const inner = (into[name] ??= { ...closed({}, []), type: ['object', 'null'] }) as Schema
      into = inner['properties'] as Schema
    }
    into[last] = { description: effects.get(path), ...nullable(shape) }
  }
  return root
}

function descriptions(): ReadonlyMap<string, string> {
  const found = new Map<string, string>()
  for (const { field, reason } of KUBE_PROXY_ONLY) {
    if (field !== undefined) found.set(field, `Has no effect: ${reason}.`)
  }
  for (const row of Object.values<OptionRow>(OPTIONS)) {
    for (const { field, modes } of row.kubeProxy ?? []) {
      const when = modes === undefined ? '' : `, in the modes ${modes.join(', ')}`
      if (field !== undefined) found.set(field, `--${row.flag}${when}.`)
    }
  }
  return found
}

function identity({ apiVersion, kind }: { apiVersion: string; kind: string }): Schema {
  return { apiVersion: { const: apiVersion }, kind: { const: kind } }
}

function closed(properties: Schema, required = ['apiVersion', 'kind']): Schema {
  return {
    type: 'object',
    ...(required.length === 0 ? {} : { required }),
    additionalProperties: false,
    properties,
  }
}

/** null is as if the field were not there. */
function nullable(shape: JsonShape): Schema {
  const types = typeof shape.type === 'string' ? [shape.type] : shape.type
  return {
    ...shape,
    type: [...types, 'null'],
    ...(shape.enum === undefined ? {} : { enum: [...shape.enum, null] }),
  }
}
