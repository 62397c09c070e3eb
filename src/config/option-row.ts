/** What one row of the table of options is made of. */
import type { ValueType } from './value-type.js'

export const COMMAND_NAMES = [
  'run',
  'check',
  'status',
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
  'Traffic policy',
  'Balancers',
  'Userspace mode: TCP',
  'Userspace mode: UDP',
  'Nfqueue mode',
  'HTTP endpoints',
  'Output',
] as const

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
