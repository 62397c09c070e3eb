/**
 * Which balancer a Service port gets, and with which parameters: the Service's annotations
 * `kube-sluice.io/balancer` and `kube-sluice.io/balancer-...`, else the configuration. A bad
 * annotation costs the Service that setting, not its traffic. Pure: every node comes to the same.
 */
import type { ValueType } from '../../config/value-type.js'
import { nearestName } from '../../lib/nearest-name.js'
import { quote } from '../../model/object-fields.js'
import type { ServicePort } from '../../model/service-port.js'
import type { ObjectProblem } from '../../model/snapshot.js'
import {
  HASH_BALANCE_FACTOR,
  MAGLEV_TABLE_SIZE,
  PEAK_EWMA_DECAY,
  SLOW_START,
  SLOW_START_FLOOR,
} from './parameters.js'
import { BALANCER_NAMES, isBalancerName, type BalancerName } from './registry.js'

/** What the configuration says, for Services that say nothing. */
export interface BalancerDefaults {
  readonly name: BalancerName
  /** Of the hashing balancers; the same on all nodes. */
  readonly hashSeed: string
  readonly maglevTableSize: number
  /** Percent; 0: no bound. */
  readonly hashBalanceFactor: number
  readonly peakEwmaDecayMs: number
  /** How long an endpoint that comes (again) takes to its full weight; 0: no slow start. */
  readonly slowStartMs: number
  /** Percent of the weight that it begins with. */
  readonly slowStartFloor: number
  /** File of the user's own balancer. */
  readonly plugin: string | undefined
  /** Longest time of one of its picks. */
  readonly pluginLimitMs: number
}

/** Everything that a balancer of one Service port is made from. */
export interface BalancerSettings extends BalancerDefaults {
  /** Whether a client's connections may go to several endpoints. */
  readonly hashesPort: boolean
}

export const BALANCER_DEFAULTS: BalancerDefaults = {
  name: 'round-robin',
  hashSeed: 'kube-sluice',
  maglevTableSize: 16_381,
  hashBalanceFactor: 125,
  peakEwmaDecayMs: 10_000,
  slowStartMs: 0,
  slowStartFloor: 10,
  plugin: undefined,
  pluginLimitMs: 2,
}

type NumericSetting = Exclude<
  keyof BalancerDefaults,
  'name' | 'hashSeed' | 'plugin' | 'pluginLimitMs'
>

/** Annotations after `kube-sluice.io/balancer-`. */
export const BALANCER_PARAMETERS: ReadonlyMap<
  string,
  { key: NumericSetting; type: ValueType<number> }
> = new Map([
  ['maglev-table-size', { key: 'maglevTableSize', type: MAGLEV_TABLE_SIZE }],
  ['hash-balance-factor', { key: 'hashBalanceFactor', type: HASH_BALANCE_FACTOR }],
  ['peak-ewma-decay', { key: 'peakEwmaDecayMs', type: PEAK_EWMA_DECAY }],
  ['slow-start', { key: 'slowStartMs', type: SLOW_START }],
  ['slow-start-floor', { key: 'slowStartFloor', type: SLOW_START_FLOOR }],
])
const PREFIX = 'balancer-'

type Annotated = Pick<ServicePort, 'namespace' | 'name' | 'annotations' | 'affinityTimeoutSeconds'>

export interface ReadSettings {
  readonly settings: BalancerSettings
  readonly problems: readonly ObjectProblem[]
}

/** The settings of a Service port, and what is wrong with its annotations. */
export function readBalancerSettings(port: Annotated, defaults: BalancerDefaults): ReadSettings {
  const problems: ObjectProblem[] = []
  const report = (annotation: string, message: string): void => {
    problems.push({
      object: `Service ${port.namespace}/${port.name}`,
      field: `metadata.annotations["kube-sluice.io/${annotation}"]`,
      message,
    })
  }
  const hashesPort = port.affinityTimeoutSeconds === undefined
  const settings = { ...defaults, hashesPort }
  for (const [annotation, text] of Object.entries(port.annotations)) {
    if (annotation === 'balancer') {
      if (isBalancerName(text, defaults.plugin !== undefined)) settings.name = text
      else report(annotation, unknownBalancer(text, defaults.name))
      continue
    }
    if (!annotation.startsWith(PREFIX)) continue
    const parameter = BALANCER_PARAMETERS.get(annotation.slice(PREFIX.length))
    if (parameter === undefined) {
      report(annotation, unknownParameter(annotation))
      continue
    }
    const parsed = parameter.type.parse(text)
    if ('value' in parsed) settings[parameter.key] = parsed.value
    else report(annotation, `${quote(text)} ${parsed.problem}; the configured value is used`)
  }
  return { settings, problems }
}

function unknownBalancer(text: string, used: string): string {
  if (text === 'plugin')
    return `there is no plug-in; ${used} is used, name one by --balancer-plugin`
  return `there is no balancer ${quote(text)}; ${used} is used, choose one of: ${BALANCER_NAMES.join(', ')}`
}

function unknownParameter(annotation: string): string {
  const names = [...BALANCER_PARAMETERS.keys()].map((name) => `${PREFIX}${name}`)
  const nearest = nearestName(annotation, names)
  return `is not known and ignored${nearest === undefined ? '' : `; did you mean kube-sluice.io/${nearest}?`}`
}
