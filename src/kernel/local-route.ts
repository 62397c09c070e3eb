/**
 * Routes that make an address local: `local ADDR dev lo proto 75` in table local. The protocol
 * number marks them as ours, so that those of an earlier process are found again and nobody else's
 * are touched.
 */
import { type IpFamily, parseIpAddress } from '../lib/ip-address.js'
import { commandFailure, type RunCommand } from './command.js'

/** Not in /etc/iproute2/rt_protos; routing daemons leave routes of foreign protocols alone. */
export const ROUTE_PROTOCOL = 75

export interface LocalRoute {
  /** Canonical. */
  readonly address: string
  /** Source of the node's own connections to `address`; without one they come from `address`. */
  readonly preferredSource: string | undefined
}

export interface LocalRouteChange {
  readonly remove: readonly LocalRoute[]
  readonly add: readonly LocalRoute[]
}

/** Our routes of one family. Throws SluiceError ERR_TOOL. */
export async function listLocalRoutes(run: RunCommand, family: IpFamily): Promise<LocalRoute[]> {
  const args = [flag(family), '-json', 'route', 'show', 'table', 'local', 'proto', PROTOCOL]
  const result = await run('ip', args)
  const { status, stdout: text, stderr } = result
  // A namespace without any address has no table local yet.
  if (status !== 0 && /FIB table does not exist/.test(stderr)) return []
  if (status !== 0) throw commandFailure('ip', args, result)
  const routes = text.trim() === '' ? [] : (JSON.parse(text) as readonly RouteJson[])
  return routes
    .filter((route) => route.type === 'local' && route.dev === 'lo')
    .map((route) => ({
      address: parseIpAddress(route.dst) ?? route.dst,
      preferredSource: route.prefsrc === undefined ? undefined : parseIpAddress(route.prefsrc),
    }))
}

/**
 * Removes and adds routes of one family, in one run of `ip -batch`. A route to add whose address
 * is local already, and one to remove that is gone, are fine.
 * @throws SluiceError ERR_TOOL with the first line that failed; the others are in force then
 */
export async function changeLocalRoutes(
  run: RunCommand,
  family: IpFamily,
  { remove, add }: LocalRouteChange,
): Promise<void> {
  const lines = [...remove.map((route) => line('del', route)), ...add.map((r) => line('add', r))]
  if (lines.length === 0) return
  const args = [flag(family), '-force', '-batch', '-']
  const result = await run('ip', args, `${lines.join('\n')}\n`)
  const failure = result.status === 0 ? undefined : firstRealFailure(result.stderr)
  if (failure === undefined) return
  const culprit = lines[failure.line - 1] ?? 'batch'
  throw commandFailure('ip', [flag(family), culprit], { ...result, stderr: failure.text })
}

interface RouteJson {
  readonly type?: string
  readonly dst: string
  readonly dev?: string
  readonly prefsrc?: string
}

const PROTOCOL = String(ROUTE_PROTOCOL)

function flag(family: IpFamily): string {
  return family === 'IPv4' ? '-4' : '-6'
}

function line(verb: 'add' | 'del', { address, preferredSource }: LocalRoute): string {
  const route = `route ${verb} local ${address} dev lo table local proto ${PROTOCOL}`
  return verb === 'del' || preferredSource === undefined ? route : `${route} src ${preferredSource}`
}

/**
 * `ip -force -batch` says for each line that failed `RTNETLINK answers: TEXT` and then
 * `Command failed -:LINE`. EEXIST on add and ESRCH on del are what we want.
 */
function firstRealFailure(stderr: string): { text: string; line: number } | undefined {
  let text = ''
  let count = 0
  for (const said of stderr.split('\n')) {
    const failed = /^Command failed .*:(\d+)$/.exec(said)
    if (failed === null) {
      text = said === '' ? text : said
      continue
    }
    count++
    if (!/: (File exists|No such process)\.?$/.test(text)) return { text, line: Number(failed[1]) }
  }
  // Failed as a whole, before the first line (IPv6 switched off, no such option).
  return count === 0 ? { text, line: 1 } : undefined
}
