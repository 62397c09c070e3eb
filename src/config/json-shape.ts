/**
 * How the value of an option stands in a configuration file, and how it becomes the text that the
 * same value has on the command line. The shape is a JSON Schema at the same time.
 */

type JsonType = 'boolean' | 'integer' | 'number' | 'string' | 'array' | 'object'

export interface JsonShape {
  readonly type: JsonType | readonly JsonType[]
  readonly enum?: readonly unknown[]
  readonly pattern?: string
  readonly minimum?: number
  readonly maximum?: number
  readonly minLength?: number
  readonly items?: JsonShape
  readonly properties?: Readonly<Record<string, JsonShape>>
  readonly additionalProperties?: JsonShape
}

/**
 * The text that `ValueType.parse` reads, or why the value has the wrong type. Lists are joined with
 * commas, maps are `key=value,...`, a number that was a mark is hexadecimal again.
 */
export function textOfJson(
  shape: JsonShape,
  value: unknown,
): { readonly text: string } | { readonly problem: string } {
  const types = typesOf(shape)
  const found = types.find((type) => isOf(type, value))
  if (found === undefined) return { problem: `is not ${types.map(nameOf).join(' or ')}` }
  if (Array.isArray(value)) return listText(shape, value)
  if (found === 'object') return mapText(value as Readonly<Record<string, unknown>>)
  if (typeof value === 'number' && shape.pattern?.startsWith('^0x') === true) {
    return { text: `0x${value.toString(16)}` }
  }
  return { text: String(value) }
}

/** The inverse, for printing a configuration. */
export function jsonOfText(shape: JsonShape, text: string): unknown {
  const types = typesOf(shape)
  if (types.includes('string')) return text
  if (types.includes('boolean')) return text === 'true'
  if (types.includes('integer') || types.includes('number')) return Number(text)
  const parts = text === '' ? [] : text.split(',')
  if (types.includes('array')) return parts.map((part) => itemOf(shape.items, part))
  return Object.fromEntries(
    parts.map((part) => {
      const [key = '', value = ''] = part.split('=', 2)
      return [key, jsonOfText(shape.additionalProperties ?? { type: 'string' }, value)]
    }),
  )
}

/** The value in a message: on one line, and not longer than a line. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value) as string | undefined
  if (text === undefined) return 'nothing'
  return text.length > 80 ? `${text.slice(0, 77)}...` : text
}

function typesOf({ type }: JsonShape): readonly JsonType[] {
  return typeof type === 'string' ? [type] : type
}

function isOf(type: JsonType, value: unknown): boolean {
  switch (type) {
    case 'integer':
      return Number.isInteger(value)
    case 'array':
      return Array.isArray(value)
    case 'object':
      return typeof value === 'object' && value !== null && !Array.isArray(value)
    case 'boolean':
    case 'number':
    case 'string':
      return typeof value === type
  }
}

function nameOf(type: JsonType): string {
  switch (type) {
    case 'boolean':
      return 'true or false'
    case 'integer':
      return 'a whole number'
    case 'number':
      return 'a number'
    case 'string':
      return 'text'
    case 'array':
      return 'a list'
    case 'object':
      return 'a map'
  }
}

function listText(
  shape: JsonShape,
  list: readonly unknown[],
): { readonly text: string } | { readonly problem: string } {
  const parts: string[] = []
  for (const [index, item] of list.entries()) {
    if (shape.items?.properties !== undefined) {
      if (!isOf('object', item)) return { problem: `has an item [${index}] that is not a map` }
      parts.push(
        Object.values(item as object)
          .map(String)
          .join('='),
      )
      continue
    }
    if (typeof item !== 'string' || item.includes(',')) {
      return { problem: `has an item [${index}] that is not text without a comma` }
    }
    parts.push(item)
  }
  return { text: parts.join(',') }
}

function itemOf(shape: JsonShape | undefined, part: string): unknown {
  const properties = Object.entries(shape?.properties ?? {})
  if (properties.length === 0) return part
  const values = part.split('=')
  return Object.fromEntries(
    properties.map(([key, of], index) => [key, jsonOfText(of, values[index] ?? '')]),
  )
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : shown(value)
}

function mapText(
  map: Readonly<Record<string, unknown>>,
): { readonly text: string } | { readonly problem: string } {
  const parts: string[] = []
  for (const [key, value] of Object.entries(map)) {
    if (typeof value === 'object' || /[=,]/.test(key))
      return { problem: `has a bad entry "${key}"` }
    parts.push(`${key}=${textOf(value)}`)
  }
  return { text: parts.join(',') }
}
