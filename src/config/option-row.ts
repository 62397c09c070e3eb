/** What one row of the table of options is made of. */
import type { JsonShape } from './json-shape.js'
import type { ValueType } from './value-type.js'

export const COMMAND_NAMES = [
  'run',
  'render',
  'check',
  'status',
  'explain',
  'demo',
  'cleanup',
  'completion',
  'help',
] as const

export type CommandName = (typeof COMMAND_NAMES)[number]

/** Heading in `--help`; in this order there. */
export const SECTIONS = [
  'Objects and node',
  'Proxy',
  'Automatic switch',
  'Traffic policy',
  'Balancers',
  'Userspace mode: TCP',
  'Userspace mode: UDP',
  'Nfqueue mode',
  'IPVS mode',
  'Node set-up',
  'Health checks',
  'HTTP endpoints',
  'Output',
] as const

/** A name that kube-proxy has for an option: a flag, a field of KubeProxyConfiguration, or both. */
export interface KubeProxyName {
  /** Without the dashes; absent when it is the row's own, or when only the file has the option. */
  readonly flag?: string
  readonly short?: string
  /** `conntrack.maxPerCore` */
  readonly field?: string
  /** It counts in these proxy modes only; in all when absent. */
  readonly modes?: readonly string[]
  /** In the file: 0, `0s` and '' are values (kube-proxy has a pointer there), and not "the default". */
  readonly zeroCounts?: true
  /** Shape in the file, where it is not that of the row. */
  readonly json?: JsonShape
  /** What the text means in terms of the row. */
  readonly read?: (text: string) => string
  /** Reason why one should rather use the row's own name; logged when this one is used. */
  readonly deprecated?: string
}

/**
 * A row of `run` can stand in a configuration file too: in the document kube-sluice.io/v1alpha1,
 * under its flag in camelCase (fileKeyOf).
 */
export interface OptionRow<T = unknown> {
  /** Without the dashes. */
  readonly flag: string
  /** One letter: `-o`. */
  readonly short?: string
  readonly type: ValueType<T>
  /** As it would be written; undefined when there is none. */
  readonly default: string | undefined
  readonly section: (typeof SECTIONS)[number]
  readonly commands: readonly CommandName[]
  /** One sentence without a full stop; the default and the range are added to it. */
  readonly help: string
  /** Other default when the node's own address (`--bind-address`) is IPv6. */
  readonly defaultIPv6?: string
  /** A list: given again, a flag adds to it. */
  readonly isRepeatable?: true
  /** Its names in kube-proxy. */
  readonly kubeProxy?: readonly KubeProxyName[]
  /** false: about the command line or the file itself, so it cannot be in the file. */
  readonly inFile?: false
  /**
   * A changed configuration file changes it in the running proxy: its field of RunConfig is read
   * where it is used, and never copied. Without it a change needs a restart.
   */
  readonly live?: true
}

/** `connect-timeout` is `connectTimeout` in the file. */
export function fileKeyOf({ flag }: Pick<OptionRow, 'flag'>): string {
  return flag.replace(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())
}

/** Whether a configuration file may have it. */
export function isInFile({ commands, inFile }: OptionRow): boolean {
  return inFile !== false && commands.includes('run')
}

type Described<T> = Omit<OptionRow<T>, 'flag' | 'type' | 'default'>

/** A row whose value is always there. */
export interface DefaultedRow<T> extends OptionRow<T> {
  readonly default: string
}

/** A row whose value may be absent. */
export interface OptionalRow<T> extends OptionRow<T> {
  readonly default: undefined
}

export function row<T>(
  flag: string,
  type: ValueType<T>,
  defaultText: string,
  described: Described<T>,
): DefaultedRow<T> {
  return { flag, type, default: defaultText, ...described }
}

export function optional<T>(
  flag: string,
  type: ValueType<T>,
  described: Described<T>,
): OptionalRow<T> {
  return { flag, type, default: undefined, ...described }
}

export const RUN = ['run'] as const
