/**
 * How the texts of health-check annotations are read: as config/value-type.ts for options, with
 * what only health checks know. None throws.
 */
import { isObjectName } from '../../model/object-fields.js'
import type { Parsed } from '../../config/value-type.js'
import type { StatusRange } from './health-check.js'

/** Nothing that a probe sends or looks for is longer. */
const MAX_BYTES = 4096
const DNS_TYPES: ReadonlySet<string> = new Set('A NS CNAME SOA PTR MX TXT AAAA SRV ANY'.split(' '))
const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', '0': '\0' }

/** `10%` or `10`. */
export function parsePercent(text: string): Parsed<number> {
  const value = Number(/^(\d{1,3})%?$/.exec(text)?.[1] ?? NaN)
  return value <= 100 ? { value } : { problem: 'is not a share from 0% to 100%' }
}

/** A port number, or the name of a port of the Service. */
export function parsePort(text: string): Parsed<number | string> {
  const number = Number(text)
  if (/^\d{1,5}$/.test(text) && number >= 1 && number <= 65_535) return { value: number }
  if (isObjectName(text) && !/^\d+$/.test(text)) return { value: text }
  return { problem: 'is neither a port number nor the name of a port' }
}

export function parsePath(text: string): Parsed<string> {
  return /^\/[\x21-\x7e]{0,1023}$/.test(text)
    ? { value: text }
    : { problem: 'is not a path such as /healthz' }
}

/** A host name, with a port where there has to be one. */
export function parseHost(text: string): Parsed<string> {
  return /^[A-Za-z0-9](?:[-_.A-Za-z0-9]{0,252})(?::\d{1,5})?$/.test(text)
    ? { value: text }
    : { problem: 'is not a host name' }
}

export function parseMethod(text: string): Parsed<string> {
  return /^[A-Z]{1,20}$/.test(text) && text !== 'CONNECT'
    ? { value: text }
    : { problem: 'is not a method such as GET' }
}

/** One `Name: value` a line. */
export function parseHeaders(text: string): Parsed<readonly (readonly [string, string])[]> {
  const headers: (readonly [string, string])[] = []
  for (const line of text.split(/\r?\n/)) {
    if (line.trim() === '') continue
    const match = /^([-!#$%&'*+.^_`|~0-9A-Za-z]{1,100}): ?([\t\x20-\x7e]{0,1000})$/.exec(
      line.trim(),
    )
    if (match === null) return { problem: 'is not a "Name: value" on each line' }
    headers.push([match[1] ?? '', match[2] ?? ''])
  }
  return headers.length <= 50 ? { value: headers } : { problem: 'has more than 50 headers' }
}

/** `200`, `200-399`, or several of them with commas. */
export function parseStatusRanges(text: string): Parsed<readonly StatusRange[]> {
  const ranges: StatusRange[] = []
  for (const part of text.split(',')) {
    const match = /^ *([1-5]\d\d)(?:-([1-5]\d\d))? *$/.exec(part)
    const from = Number(match?.[1])
    const to = Number(match?.[2] ?? match?.[1])
    if (match === null || to < from) return { problem: 'is not a list such as 200-299,401' }
    ranges.push({ from, to })
  }
  return { value: ranges }
}

/** Text with \r \n \t \0 \\ \xNN, or `hex:` and hexadecimal digits. */
export function parseBytes(text: string): Parsed<Buffer> {
  if (text.startsWith('hex:')) {
    const digits = text.slice(4).replaceAll(' ', '')
    return /^(?:[0-9a-f]{2}){1,4096}$/i.test(digits)
      ? { value: Buffer.from(digits, 'hex') }
      : { problem: 'is not hex: and pairs of hexadecimal digits' }
  }
  if (/\\(?![nrt0\\]|x[0-9a-fA-F]{2})/.test(text.replaceAll('\\\\', ''))) {
    return { problem: 'has a \\ that is not one of \\n \\r \\t \\0 \\\\ \\xNN' }
  }
  const plain = text.replaceAll(/\\(?:x([0-9a-fA-F]{2})|(.))/g, (_all, hex?: string, one = '') =>
    hex === undefined
      ? (ESCAPES[String(one)] ?? String(one))
      : String.fromCharCode(parseInt(hex, 16)),
  )
  const hasBytes = /\\x/.test(text)
  const bytes = Buffer.from(plain, hasBytes ? 'latin1' : 'utf8')
  return bytes.length >= 1 && bytes.length <= MAX_BYTES
    ? { value: bytes }
    : { problem: `is not 1 to ${MAX_BYTES} bytes long` }
}

/** `NAME` or `NAME TYPE`; the type is A when it is left out. */
export function parseQuery(text: string): Parsed<{ readonly name: string; readonly type: string }> {
  const [name = '', type = 'A', ...more] = text.trim().split(/ +/)
  const isName =
    name === '.' ||
    (/^(?:[-_a-zA-Z0-9]{1,63}\.)*[-_a-zA-Z0-9]{1,63}\.?$/.test(name) && name.length <= 253)
  return isName && DNS_TYPES.has(type.toUpperCase()) && more.length === 0
    ? { value: { name, type: type.toUpperCase() } }
    : { problem: 'is not a DNS name and a type, such as "example.com A"' }
}

/** A response code or an answer: no more is known before it comes. */
export function parseAnswer(text: string): Parsed<string> {
  return /^[\x21-\x7e]{1,255}$/.test(text)
    ? { value: text }
    : { problem: 'is neither a DNS response code nor an answer' }
}

export function parseServiceName(text: string): Parsed<string> {
  return /^[.\w/-]{0,255}$/.test(text)
    ? { value: text }
    : { problem: 'is not the name of a gRPC service' }
}

/** A program of the exec folder, by its name alone. */
export function parseCommand(text: string): Parsed<string> {
  return /^[A-Za-z0-9_][-.\w]{0,99}$/.test(text)
    ? { value: text }
    : { problem: 'is not the name of a file in the folder of --health-check-exec-dir' }
}
