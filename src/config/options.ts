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
import { HTTP_OPTIONS } from './options/http.js'
import { NFQUEUE_OPTIONS } from './options/nfqueue.js'
import { NODE_OPTIONS } from './options/node.js'
import { OUTPUT_OPTIONS } from './options/output.js'
import { PROXY_OPTIONS } from './options/proxy.js'
import { TRAFFIC_OPTIONS } from './options/traffic.js'
import { USERSPACE_OPTIONS } from './options/userspace.js'

export { COMMAND_NAMES, SECTIONS, type CommandName, type OptionRow }

export const OPTIONS = {
  ...NODE_OPTIONS,
  ...PROXY_OPTIONS,
  ...TRAFFIC_OPTIONS,
  ...BALANCER_OPTIONS,
  ...USERSPACE_OPTIONS,
  ...NFQUEUE_OPTIONS,
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
  return Object.values<OptionRow>(OPTIONS).filter(({ commands }) => commands.includes(command))
}

/** Flags of kube-proxy, or of the design, that are not here: what to do without each. */
export const ABSENT_FLAGS: ReadonlyMap<string, string> = new Map([
  ['config', 'this version is configured by flags only'],
  ['kubeconfig', 'this version reads manifests only; use --manifests'],
  ['master', 'this version reads manifests only; use --manifests'],
  ['iptables-sync-period', 'it belongs to a mode that is not here; use --sync-period'],
  ['iptables-min-sync-period', 'it belongs to a mode that is not here; use --min-sync-period'],
  ['ipvs-sync-period', 'it belongs to a mode that is not here; use --sync-period'],
  ['ipvs-min-sync-period', 'it belongs to a mode that is not here; use --min-sync-period'],
  ['pod-bridge-interface', 'userspace mode does not look at interfaces; leave it out'],
  ['pod-interface-name-prefix', 'userspace mode does not look at interfaces; leave it out'],
  ['cleanup', 'it is a command here: kube-sluice cleanup'],
  ['bind-address', 'nothing is bound to it, in kube-proxy neither; leave it out'],
])
