/**
 * The types that an option's value can have: how its text is read, and what is said when it cannot
 * be. A parser never throws; `expected` completes the sentence "... is not EXPECTED".
 */
import { formatDuration, parseDuration } from '../lib/duration.js'
import { parseIpAddress, parseIpRange, type IpRange } from '../lib/ip-address.js'
import { markLayoutOf, MIN_MARK_BITS } from '../packet/mark-layout.js'
import type { JsonShape } from './json-shape.js'
import type { BindAddress } from './run-config.js'

/** A value, or why there is none: a clause to stand after the flag and the text that was given. */
export type Parsed<T> = { readonly value: T } | { readonly problem: string }

export interface ValueType<T> {
  /** Placeholder in help: `DURATION`. A switch has none and may stand without a value. */
  readonly placeholder: string | undefined
  /** The complete list, when there is one: for help, completion and guesses. */
  readonly words?: readonly string[]
  /** What may be written, for help; undefined when the placeholder says it all. */
  readonly range?: string
  /** How a configuration file holds it; `parse` is given its text all the same (textOfJson). */
  readonly json: JsonShape
  parse(text: string): Parsed<T>
}

/** Longest time a timer of Node can run, rounded down to hours: 2^31-1 ms is 596.5 h. */
export const MAX_TIMER = '596h'
/** As lib/duration.ts reads it; for the schema only. */
const DURATION_PATTERN = '^(0|(([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h))+)$'

/** RFC 1123, 2.1. */
const HOST_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/i
/** Names as the API has them (RFC 1123 label, RFC 1035 label). */
const SERVICE_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?\/[a-z0-9]([-a-z0-9]*[a-z0-9])?$/

/** `--flag`, `--flag=true`, `--flag=false`. */
export function switchType(): ValueType<boolean> {
  return {
    placeholder: undefined,
    json: { type: 'boolean' },
    parse: (text) => {
      if (text === 'true') return { value: true }
      return text === 'false' ? { value: false } : { problem: 'is not true or false' }
    },
  }
}

/** Any text but the empty one. */
export function text(placeholder: string): ValueType<string> {
  return {
    placeholder,
    json: { type: 'string', minLength: 1 },
    parse: (given) => (given === '' ? { problem: 'is empty' } : { value: given }),
  }
}

/** A whole number, `min` and `max` included. */
export function integer(min: number, max: number): ValueType<number> {
  const range = `${min} to ${max}`
  return {
    placeholder: 'N',
    range,
    json: { type: 'integer', minimum: min, maximum: max },
    parse: (given) => {
      const value = Number(given)
      const isValid = /^-?\d{1,15}$/.test(given) && value >= min && value <= max
      return isValid ? { value } : { problem: `is not a whole number from ${range}` }
    },
  }
}

/** A share of 0 to 100 percent, to the ten thousandth of one: a fleet of thousands of nodes shares finely. */
export function percentage(): ValueType<number> {
  const range = '0 to 100'
  return {
    placeholder: 'PERCENT',
    range,
    json: { type: 'number', minimum: 0, maximum: 100 },
    parse: (given) => {
      const value = Number(given)
      const isValid = /^\d{1,3}(\.\d{1,4})?$/.test(given) && value <= 100
      return isValid
        ? { value }
        : { problem: `is not a number from ${range}, with four decimals at most` }
    },
  }
}

/** Bits of a mark: one run of at least MIN_MARK_BITS, as 0x and hexadecimal digits. */
export function markMask(): ValueType<number> {
  return {
    placeholder: 'MASK',
    // YAML reads 0x3fffff00 as a number.
    json: { type: ['string', 'integer'], pattern: '^0x[0-9a-fA-F]{1,8}$' },
    parse: (given) => {
      const problem = `is not one run of at least ${MIN_MARK_BITS} bits such as 0x3fffff00`
      if (!/^0x[0-9a-f]{1,8}$/i.test(given)) return { problem }
      try {
        return { value: markLayoutOf(Number(given)).mask }
      } catch {
        return { problem }
      }
    },
  }
}

/** Milliseconds from a Go duration; the bounds are durations too. */
export function duration(min: string, max: string = MAX_TIMER): ValueType<number> {
  const [minMs, maxMs] = [parseDuration(min) ?? 0, parseDuration(max) ?? 0]
  const range = `${min} to ${max}`
  return {
    placeholder: 'DURATION',
    range,
    json: { type: 'string', pattern: DURATION_PATTERN },
    parse: (given) => {
      const value = parseDuration(given)
      if (value === undefined) {
        const bare = /^\d+$/.test(given) ? `; did you mean ${given}s?` : ''
        return { problem: `is not a duration such as 500ms, 30s or 2m30s${bare}` }
      }
      return value >= minMs && value <= maxMs
        ? { value }
        : { problem: `is ${formatDuration(value)}, and must be from ${range}` }
    },
  }
}

/**
 * One word of a closed list. `refused` has words that other versions or kube-proxy know, each with
 * the reason why it cannot be had here.
 */
export function oneOf<const W extends string>(
  words: readonly W[],
  refused: Readonly<Record<string, string>> = {},
): ValueType<W> {
  return {
    placeholder: words.join('|'),
    words,
    json: { type: 'string', enum: words },
    parse: (given) => {
      const value = words.find((word) => word === given)
      if (value !== undefined) return { value }
      const reason = Object.hasOwn(refused, given) ? refused[given] : undefined
      const allowed = `allowed: ${words.join(', ')}`
      return {
        problem: reason === undefined ? `is unknown (${allowed})` : `${reason} (${allowed})`,
      }
    },
  }
}

/** Names of hosts, separated by commas, each once. */
export function hostNames(): ValueType<readonly string[]> {
  return {
    placeholder: 'NAME[,...]',
    json: { type: 'array', items: { type: 'string' } },
    parse: (given) => {
      const found = given === '' ? [] : given.split(',')
      const wrong = found.find((one) => !HOST_NAME.test(one))
      if (wrong !== undefined) return { problem: `is not a name of a host at "${wrong}"` }
      return { value: [...new Set(found)] }
    },
  }
}

/** Services by `namespace/name`, separated by commas, each once. */
export function serviceNames(): ValueType<readonly string[]> {
  return {
    placeholder: 'NAMESPACE/NAME[,...]',
    json: { type: 'array', items: { type: 'string' } },
    parse: (given) => {
      const found = given === '' ? [] : given.split(',')
      const wrong = found.find((one) => !SERVICE_NAME.test(one))
      if (wrong !== undefined) return { problem: `is not NAMESPACE/NAME at "${wrong}"` }
      return { value: [...new Set(found)] }
    },
  }
}

/** Some words of a closed list, in any order, separated by commas, each once. */
export function words<const W extends string>(all: readonly W[]): ValueType<readonly W[]> {
  return {
    placeholder: `${all[0] ?? ''}[,...]`,
    range: `any of ${all.join(', ')}`,
    json: { type: 'array', items: { type: 'string' } },
    parse: (given) => {
      const found: W[] = []
      for (const part of given.split(',')) {
        const word = all.find((one) => one === part)
        if (word === undefined)
          return { problem: `is not a list of ${all.join(', ')} at "${part}"` }
        if (found.includes(word)) return { problem: `has ${word} twice` }
        found.push(word)
      }
      return { value: found }
    },
  }
}

/** An IP address, printed canonically. */
export function ipAddress(): ValueType<string> {
  return {
    placeholder: 'IP',
    json: { type: 'string' },
    parse: (given) => {
      const value = parseIpAddress(given)
      return value === undefined ? { problem: 'is not an IP address' } : { value }
    },
  }
}

/** One CIDR range, or one of each family, separated by a comma (kube-proxy's clusterCIDR). */
export function rangePair(): ValueType<readonly IpRange[]> {
  return {
    placeholder: 'CIDR[,CIDR]',
    json: { type: 'string' },
    parse: (given) => {
      const parsed = parseRanges(given)
      if ('problem' in parsed) return parsed
      const [first, second, ...more] = parsed.value
      const isPair = second === undefined || (first?.family !== second.family && more.length === 0)
      return isPair ? parsed : { problem: 'is not one range, or one IPv4 and one IPv6 range' }
    },
  }
}

/** Any number of CIDR ranges, separated by commas. */
export function ranges(): ValueType<readonly IpRange[]> {
  return {
    placeholder: 'CIDR[,CIDR...]',
    json: { type: 'array', items: { type: 'string' } },
    parse: parseRanges,
  }
}

/** Ranges of node addresses, or kube-proxy's word `primary`. */
export function nodeAddresses(): ValueType<'primary' | readonly IpRange[]> {
  return {
    placeholder: 'primary|CIDR[,CIDR...]',
    json: { type: 'array', items: { type: 'string' } },
    parse: (given) => (given === 'primary' ? { value: given } : parseRanges(given)),
  }
}

function parseRanges(given: string): Parsed<readonly IpRange[]> {
  if (given === '') return { value: [] }
  const ranges: IpRange[] = []
  for (const part of given.split(',')) {
    const range = parseIpRange(part)
    if (range === undefined) return { problem: `is not a CIDR range at "${part}"` }
    ranges.push(range)
  }
  return { value: ranges }
}

/**
 * `IP:PORT`, `[IPv6]:PORT`, or an IP alone, which gets `defaultPort`; port 0 lets the kernel choose.
 * The empty text switches the server off, as in kube-proxy.
 */
export function bindAddress(defaultPort: number): ValueType<BindAddress | undefined> {
  return {
    placeholder: 'IP[:PORT]',
    json: { type: 'string' },
    parse: (given) => {
      if (given === '') return { value: undefined }
      const alone = parseIpAddress(given.replace(/^\[(.*)\]$/, '$1'))
      if (alone !== undefined) return { value: { address: alone, port: defaultPort } }
      const match = /^(?:\[([^\]]*:[^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(given)
      const address = parseIpAddress(match?.[1] ?? match?.[2] ?? '')
      const port = Number(match?.[3])
      return address === undefined || port > 65_535
        ? { problem: `is not an address such as 127.0.0.1:${defaultPort} or [::1]:${defaultPort}` }
        : { value: { address, port } }
    },
  }
}

/** An absolute http address: the proxy serves no TLS. */
export function httpUrl(): ValueType<URL> {
  return {
    placeholder: 'URL',
    json: { type: 'string', pattern: '^http://' },
    parse: (given) => {
      const url = URL.canParse(given) ? new URL(given) : undefined
      return url?.protocol === 'http:'
        ? { value: url }
        : { problem: 'is not an address such as http://127.0.0.1:10249' }
    },
  }
}
