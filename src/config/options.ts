/**
 * THE table of options: one row each, in a file for each topic. The command line, its defaults and
 * checks, `--help`, shell completion and the documentation are made from it. A new option is a new
 * row, and a field of RunConfig in load.ts when `run` is to know it. kube-proxy's flags keep their
 * names and defaults.
 */
import {
  COMMAND_NAMES,
  SECTIONS,
  type CommandName,
  type DefaultedRow,
  type OptionalRow,
  type OptionRow,
} from './option-row.js'
import { BALANCER_OPTIONS } from './options/balancers.js'
import { FALLBACK_OPTIONS } from './options/fallback.js'
import { HEALTH_OPTIONS } from './options/health.js'
import { HTTP_OPTIONS } from './options/http.js'
import { IPVS_OPTIONS } from './options/ipvs.js'
import { NFQUEUE_OPTIONS } from './options/nfqueue.js'
import { NODE_SETUP_OPTIONS } from './options/node-setup.js'
import { NODE_OPTIONS } from './options/node.js'
import { OUTPUT_OPTIONS } from './options/output.js'
import { PROXY_OPTIONS } from './options/proxy.js'
import { TRAFFIC_OPTIONS } from './options/traffic.js'
import { USERSPACE_OPTIONS } from './options/userspace.js'

export { COMMAND_NAMES, SECTIONS, type CommandName, type OptionRow }

export const OPTIONS = {
  ...NODE_OPTIONS,
  ...PROXY_OPTIONS,
  ...FALLBACK_OPTIONS,
  ...TRAFFIC_OPTIONS,
  ...BALANCER_OPTIONS,
  ...USERSPACE_OPTIONS,
  ...NFQUEUE_OPTIONS,
  ...IPVS_OPTIONS,
  ...NODE_SETUP_OPTIONS,
  ...HEALTH_OPTIONS,
  ...HTTP_OPTIONS,
  ...OUTPUT_OPTIONS,
} as const satisfies Record<string, OptionRow>

export type OptionKey = keyof typeof OPTIONS

type ValueOf<R> =
  R extends DefaultedRow<infer T> ? T : R extends OptionalRow<infer T> ? T | undefined : never

/** A value for every row: given, else the default. */
export type OptionValues = { readonly [K in OptionKey]: ValueOf<(typeof OPTIONS)[K]> }

/** The rows that apply to a command, in the order of the table. */
export function optionsOf(command: CommandName): OptionRow[] {
  // It prints what `run` would load, with the same settings.
  if (command === 'render') return optionsOf('run')
  const rows = Object.values<OptionRow>(OPTIONS)
  // The same of manifests, and what `status` has to ask a running proxy.
  if (command === 'explain') {
    return rows.filter(({ commands }) => commands.includes('run') || commands.includes('explain'))
  }
  return rows.filter(({ commands }) => commands.includes(command))
}
