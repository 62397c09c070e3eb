/**
 * Policy routing for the tproxy capture: packets with our mark are delivered locally, wherever they
 * are addressed to (Documentation/networking/tproxy.rst).
 *
 *   ip rule:      1075: from all fwmark M/M lookup 1075
 *   table 1075:   local default dev lo proto 75
 *
 * The priority and the table are fixed and ours alone. The priority stands before table main
 * (32766), which would send the packet on to the client.
 */
import type { IpFamily } from '../lib/ip-address.js'
import { type RunCommand, runChecked } from './command.js'
import { ROUTE_PROTOCOL } from './local-route.js'

export const RULE_PRIORITY = 1075
export const ROUTE_TABLE = 1075

/** Makes the rule for `mark` and the route, and removes rules of ours for other marks. Throws ERR_TOOL. */
export async function ensureMarkRule(
  run: RunCommand,
  family: IpFamily,
  mark: number,
): Promise<void> {
  const wanted = hex(mark)
  const rules = await listRules(run, family)
  const lines = rules.filter((rule) => !isFor(rule, wanted)).map(removal)
  if (!rules.some((rule) => isFor(rule, wanted))) {
    lines.push(`rule add priority ${PRIORITY} fwmark ${wanted}/${wanted} lookup ${TABLE}`)
  }
  lines.push(`route replace ${ROUTE}`)
  await runChecked(run, 'ip', [flag(family), '-batch', '-'], `${lines.join('\n')}\n`)
}

/** Whether rule and route are there, and nothing else of ours. */
export async function hasMarkRule(
  run: RunCommand,
  family: IpFamily,
  mark: number,
): Promise<boolean> {
  const rules = await listRules(run, family)
  const isRuleRight = rules.length === 1 && rules.every((rule) => isFor(rule, hex(mark)))
  return isRuleRight && (await hasRoute(run, family))
}

/** Removes the rules, whatever their mark, and the route. Returns what was removed, in words of `ip`. */
export async function removeMarkRules(
  run: RunCommand,
  family: IpFamily,
): Promise<readonly string[]> {
  const lines = (await listRules(run, family)).map(removal)
  if (await hasRoute(run, family)) lines.push(`route del ${ROUTE}`)
  if (lines.length === 0) return []
  await runChecked(run, 'ip', [flag(family), '-batch', '-'], `${lines.join('\n')}\n`)
  return lines.map((line) => `ip ${flag(family)} ${line.replace(' del', '')}`)
}

const PRIORITY = String(RULE_PRIORITY)
const TABLE = String(ROUTE_TABLE)
const ROUTE = `local default dev lo table ${TABLE} proto ${ROUTE_PROTOCOL}`

interface RuleJson {
  readonly priority: number
  readonly fwmark?: string
  readonly fwmask?: string
  readonly table?: string
}

async function listRules(run: RunCommand, family: IpFamily): Promise<readonly RuleJson[]> {
  const text = await runChecked(run, 'ip', [flag(family), '-json', 'rule', 'show'])
  const rules = text.trim() === '' ? [] : (JSON.parse(text) as readonly RuleJson[])
  return rules.filter(({ priority, table }) => priority === RULE_PRIORITY && table === TABLE)
}

async function hasRoute(run: RunCommand, family: IpFamily): Promise<boolean> {
  // A table without routes does not exist, which is exit status 2.
  const { stdout } = await run('ip', [flag(family), 'route', 'show', 'table', TABLE])
  return /^local default dev lo /m.test(stdout)
}

function isFor(rule: RuleJson, mark: string): boolean {
  return rule.fwmark === mark && rule.fwmask === mark
}

function removal({ fwmark, fwmask }: RuleJson): string {
  const mark = fwmark === undefined ? '' : ` fwmark ${fwmark}/${fwmask ?? '0xffffffff'}`
  return `rule del priority ${PRIORITY}${mark} lookup ${TABLE}`
}

function hex(mark: number): string {
  return `0x${mark.toString(16)}`
}

function flag(family: IpFamily): string {
  return family === 'IPv4' ? '-4' : '-6'
}
