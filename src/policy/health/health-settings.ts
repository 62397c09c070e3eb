/**
 * THE table of health-check annotations: `kube-sluice.io/health-check-SETTING`, one row each, with
 * the checks that know it. A setting for one port of a Service has `.PORT-NAME` after it.
 */
import {
  duration,
  integer,
  oneOf,
  MAX_TIMER,
  type Parsed,
  type ValueType,
} from '../../config/value-type.js'
import type { HealthCheck, HealthCheckType, OnDown } from './health-check.js'
import { INITIAL_STATES, type InitialState } from './rise-fall.js'
import {
  parseAnswer,
  parseBytes,
  parseCommand,
  parseHeaders,
  parseHost,
  parseMethod,
  parsePath,
  parsePercent,
  parsePort,
  parseQuery,
  parseServiceName,
  parseStatusRanges,
} from './setting-values.js'

export type Draft = { -readonly [K in keyof HealthCheck]?: HealthCheck[K] }

export interface HealthSetting {
  /** Checks that know it; undefined: all that probe. */
  readonly types?: readonly HealthCheckType[]
  /** Reads the text into the draft; a problem is a clause to stand after the text. */
  readonly read: (text: string, draft: Draft) => string | undefined
}

const ON_DOWN: readonly OnDown[] = ['keep', 'reset']
const HTTP_TYPES: readonly HealthCheckType[] = ['http', 'https', 'http2']
const STREAM_TYPES: readonly HealthCheckType[] = ['tcp', 'tls', 'udp', 'agent']
/** No endpoint is probed more often than this. */
const SHORTEST = '100ms'

/** A setting whose value goes into one field. */
function field<K extends keyof HealthCheck>(
  key: K,
  parse: (text: string) => Parsed<NonNullable<HealthCheck[K]>>,
  types?: readonly HealthCheckType[],
): HealthSetting {
  const read = (text: string, draft: Draft): string | undefined => {
    const parsed = parse(text)
    if ('problem' in parsed) return parsed.problem
    draft[key] = parsed.value
    return undefined
  }
  return types === undefined ? { read } : { types, read }
}

/** An option's type as a parser of annotations. */
function by<T>(type: Pick<ValueType<T>, 'parse'>): (text: string) => Parsed<T> {
  return (text) => type.parse(text)
}

const time = by(duration(SHORTEST, '24h'))

export const HEALTH_SETTINGS: ReadonlyMap<string, HealthSetting> = new Map<string, HealthSetting>([
  ['interval', field('intervalMs', time)],
  ['timeout', field('timeoutMs', by(duration('10ms', '5m')))],
  ['fast-interval', field('fastIntervalMs', time)],
  ['down-interval', field('downIntervalMs', time)],
  ['jitter', field('jitterPercent', parsePercent)],
  ['rise', field('rise', by(integer(1, 100)))],
  ['fall', field('fall', by(integer(1, 100)))],
  ['initial-state', field('initialState', by(oneOf<InitialState>(INITIAL_STATES)))],
  ['port', field('port', parsePort)],
  ['on-down', field('onDown', by(oneOf<OnDown>(ON_DOWN)))],
  ['on-down-grace', field('onDownGraceMs', by(duration('0s', MAX_TIMER)))],
  ['path', field('path', parsePath, HTTP_TYPES)],
  ['host', field('host', parseHost, [...HTTP_TYPES, 'grpc', 'tls', 'smtp'])],
  ['method', field('method', parseMethod, HTTP_TYPES)],
  ['headers', field('headers', parseHeaders, HTTP_TYPES)],
  ['expect-body', field('expectBytes', parseBytes, HTTP_TYPES)],
  ['service-name', field('serviceName', parseServiceName, ['grpc'])],
  ['query', field('query', parseQuery, ['dns'])],
  ['send', field('send', parseBytes, STREAM_TYPES)],
  ['expiry-warning', field('expiryWarningMs', by(duration('0s', '87600h')), ['tls', 'https'])],
  ['command', field('command', parseCommand, ['exec'])],
  ['expect', { types: [...HTTP_TYPES, 'dns', 'tcp', 'tls', 'udp'], read: readExpect }],
])

/** Means what fits the check: status codes, a DNS answer, or bytes. */
function readExpect(text: string, draft: Draft): string | undefined {
  const setting =
    draft.type === 'dns'
      ? field('expectAnswer', parseAnswer)
      : draft.type !== undefined && HTTP_TYPES.includes(draft.type)
        ? field('expectStatus', parseStatusRanges)
        : field('expectBytes', parseBytes)
  return setting.read(text, draft)
}
