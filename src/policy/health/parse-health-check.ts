/**
 * The health check of a Service port: from the Service's annotations, else from the defaults. Pure
 * and total: a setting that cannot be read costs only itself, and is a problem of that Service.
 */
import { join } from 'node:path'
import { nearestName } from '../../lib/nearest-name.js'
import { quote } from '../../model/object-fields.js'
import type { ServicePort } from '../../model/service-port.js'
import type { ObjectProblem } from '../../model/snapshot.js'
import { ANNOTATION_PREFIX } from '../../model/translate-service.js'
import {
  HEALTH_CHECK_TYPES,
  isProbed,
  type HealthCheck,
  type HealthCheckType,
} from './health-check.js'
import type { HealthDefaults } from './health-defaults.js'
import { HEALTH_SETTINGS, type Draft } from './health-settings.js'
import { suggestHealthCheck } from './suggest-health-check.js'

export interface ParsedHealthCheck {
  readonly check: HealthCheck
  readonly problems: readonly ObjectProblem[]
}

const PREFIX = 'health-check'
const DEFAULT_ON_DOWN_GRACE_MS = 0
const LONGEST_DERIVED_MS = 1000

/** Reads the annotations that are for this port, those with its name winning over those without. */
export function parseHealthCheck(port: ServicePort, defaults: HealthDefaults): ParsedHealthCheck {
  const problems: ObjectProblem[] = []
  const report = (key: string, message: string): void => {
    problems.push({
      object: `Service ${port.namespace}/${port.name}`,
      field: `metadata.annotations[${ANNOTATION_PREFIX}${key}]`,
      message,
    })
  }
  const given = annotationsFor(port, report)
  const draft: Draft = { type: typeOf(port, defaults, given.get('')?.value, report) }
  for (const [name, { key, value }] of given) {
    if (name !== '') readSetting({ name, key, value }, draft, report)
  }
  return { check: complete(draft, port, defaults, report), problems }
}

interface Given {
  readonly key: string
  readonly value: string
}

type Report = (key: string, message: string) => void

/** Name of the setting (`''` for the type) to what is written for this port. */
function annotationsFor(port: ServicePort, report: Report): Map<string, Given> {
  const given = new Map<string, Given>()
  const own = new Map<string, Given>()
  for (const [key, value] of Object.entries(port.annotations)) {
    if (!key.startsWith(PREFIX)) continue
    const rest = key.slice(PREFIX.length)
    if (rest !== '' && !rest.startsWith('-') && !rest.startsWith('.')) continue
    const dot = rest.indexOf('.')
    const name = (dot < 0 ? rest : rest.slice(0, dot)).replace(/^-/, '')
    if (name !== '' && !HEALTH_SETTINGS.has(name)) {
      const nearest = nearestName(name, [...HEALTH_SETTINGS.keys()])
      const hint = nearest === undefined ? '' : `; did you mean ${PREFIX}-${nearest}?`
      report(key, `there is no such setting, it is ignored${hint}`)
    } else if (dot < 0) {
      given.set(name, { key, value })
    } else if (rest.slice(dot + 1) === port.portName) {
      own.set(name, { key, value })
    }
  }
  return new Map([...given, ...own])
}

function typeOf(
  port: ServicePort,
  defaults: HealthDefaults,
  wanted: string | undefined,
  report: Report,
): HealthCheckType {
  const suggested = suggestHealthCheck(port)
  const byDefault = defaults.check === 'auto' ? suggested : defaults.check
  if (wanted === undefined) return byDefault
  if (wanted === 'auto') return suggested
  const type = HEALTH_CHECK_TYPES.find((one) => one === wanted)
  if (type !== undefined) return type
  const nearest = nearestName(wanted, HEALTH_CHECK_TYPES)
  const hint = nearest === undefined ? '' : `, did you mean ${nearest}?`
  report(
    PREFIX,
    `there is no health check ${quote(wanted)}${hint} (there are: auto, ${HEALTH_CHECK_TYPES.join(', ')}); ${byDefault} is used`,
  )
  return byDefault
}

function readSetting(
  setting: Given & { readonly name: string },
  draft: Draft,
  report: Report,
): void {
  const { name, key, value } = setting
  const row = HEALTH_SETTINGS.get(name)
  const type = draft.type ?? 'none'
  if (row === undefined) return
  if (row.types === undefined ? !isProbed(type) : !row.types.includes(type)) {
    report(key, `has no meaning for a check of type ${type}; it is ignored`)
    return
  }
  const problem = row.read(value, draft)
  if (problem !== undefined) report(key, `${quote(value)} ${problem}; the default is used`)
}

function complete(
  draft: Draft,
  port: ServicePort,
  defaults: HealthDefaults,
  report: Report,
): HealthCheck {
  const intervalMs = draft.intervalMs ?? defaults.intervalMs
  const half = Math.min(intervalMs / 2, LONGEST_DERIVED_MS)
  const rest = { ...draft }
  delete rest.command
  const program = programOf(draft, defaults, report)
  return {
    ...rest,
    type: draft.type === 'exec' && program === undefined ? 'passive' : (draft.type ?? 'none'),
    ...(program === undefined ? {} : { command: program }),
    intervalMs,
    timeoutMs: draft.timeoutMs ?? defaults.timeoutMs ?? half,
    fastIntervalMs: draft.fastIntervalMs ?? defaults.fastIntervalMs ?? half,
    downIntervalMs: draft.downIntervalMs ?? defaults.downIntervalMs ?? intervalMs,
    jitterPercent: draft.jitterPercent ?? defaults.jitterPercent,
    rise: draft.rise ?? defaults.rise,
    fall: draft.fall ?? defaults.fall,
    initialState: draft.initialState ?? defaults.initialState,
    port: draft.port,
    // A datagram has no connection to break: its flow is better off where it is answered.
    onDown: draft.onDown ?? (port.protocol === 'UDP' ? 'reset' : 'keep'),
    onDownGraceMs: draft.onDownGraceMs ?? DEFAULT_ON_DOWN_GRACE_MS,
  }
}

/** Absolute path of an exec check's program; undefined, and a problem, when there can be none. */
function programOf(draft: Draft, defaults: HealthDefaults, report: Report): string | undefined {
  if (draft.type !== 'exec') return undefined
  if (defaults.execDirectory === undefined) {
    report(PREFIX, 'exec needs --health-check-exec-dir on this node; passive is used')
    return undefined
  }
  if (draft.command === undefined) {
    report(PREFIX, `exec needs ${ANNOTATION_PREFIX}${PREFIX}-command; passive is used`)
    return undefined
  }
  return join(defaults.execDirectory, draft.command)
}
