/**
 * Removing what the ipvs mode has left: its virtual servers, rules, sets, and the device. Its chains
 * and sets have kube-proxy's names; that they are ours is told by a set that kube-proxy has not.
 * Virtual servers of others stay (kube-proxy's own clean-up flushes the whole table).
 */
import { familyOf, type IpFamily } from '../../lib/ip-address.js'
import { type RunCommand, runChecked } from '../../kernel/command.js'
import { listDeviceAddresses, removeDevice } from '../../kernel/device-addresses.js'
import { countSetEntries, destroySets, readSetEntries, setName } from '../../kernel/ipset.js'
import { restoreRules } from '../../kernel/iptables.js'
import { changeVirtualServers, readVirtualServers, virtualServerKey } from '../../kernel/ipvs.js'
import { diffVirtualServers } from '../../kernel/ipvs-changes.js'
import { listLocalRoutes } from '../../kernel/local-route.js'
import { OwnedChains } from '../../kernel/owned-chains.js'
import { isOurs, NODE_PORT_SETS, nodePortOf, splitByOwner } from './ownership.js'
import { ipvsChains } from './rules.js'
import { IPVS_SET_NAMES, type IpvsSetName } from './sets.js'
import { PORT_CHAIN_PATTERN } from '../iptables/names.js'
import { IPVS_DEVICE } from './vip-addresses.js'

export interface IpvsCleanup {
  readonly run: RunCommand
  readonly family: IpFamily
  /** Variants of iptables that may hold rules, as iptablesTool() names them. */
  readonly tools: readonly string[]
  /** Of the node's interfaces: where node ports are. */
  readonly ownAddresses: readonly string[]
  /** In place of the removal of all chains; returns what it has removed, a line each. */
  readonly removeChains?: (tool: string) => Promise<readonly string[]>
}

/** Returns a line for each thing that was removed; nothing where the mode never was. Throws ERR_TOOL. */
export async function removeIpvs(cleanup: IpvsCleanup): Promise<readonly string[]> {
  const { run, family, tools } = cleanup
  const sets = await countSetEntries(run)
  if (!sets.has(setName('KUBE-SLUICE-DROP', family))) return []
  const removed = [...(await removeVirtualServers(cleanup))]
  const remove = cleanup.removeChains ?? ((tool: string) => removeIpvsChains(run, tool, family))
  for (const tool of tools) removed.push(...(await remove(tool)))
  const names = await destroySets(
    run,
    IPVS_SET_NAMES.map((name) => setName(name, family)),
  )
  removed.push(...names.map((name) => `ipset ${name}`))
  if (await removeDevice(run, IPVS_DEVICE)) removed.push(`device ${IPVS_DEVICE}`)
  return removed
}

/**
 * Before sets and device: they tell whose virtual servers are whose. Returns a line for each one.
 * Throws SluiceError ERR_TOOL.
 */
export async function removeVirtualServers({
  run,
  family,
  ownAddresses,
}: Pick<IpvsCleanup, 'run' | 'family' | 'ownAddresses'>): Promise<readonly string[]> {
  const names = [...NODE_PORT_SETS, 'KUBE-IPVS-IPS'] as const satisfies readonly IpvsSetName[]
  const entries = await readSetEntries(
    run,
    names.map((name) => setName(name, family)),
  )
  const of = (name: (typeof names)[number]) => entries.get(setName(name, family)) ?? []
  const routes = await listLocalRoutes(run, family)
  const record = {
    bound: new Set([
      ...((await listDeviceAddresses(run, IPVS_DEVICE, family)) ?? []),
      ...routes.map(({ address }) => address),
      ...of('KUBE-IPVS-IPS'),
    ]),
    nodePorts: new Set(NODE_PORT_SETS.flatMap((set) => of(set).map((one) => nodePortOf(set, one)))),
    ownAddresses: new Set(ownAddresses),
    excludeCidrs: [],
  }
  const { ours } = splitByOwner(
    await readVirtualServers(run),
    (server) => familyOf(server.address) === family && isOurs(server, record),
  )
  await changeVirtualServers(run, diffVirtualServers(ours, new Map()).removals)
  return [...ours.values()].map((server) => `virtual server ${virtualServerKey(server)}`)
}

/** Throws SluiceError ERR_TOOL. */
export async function removeIpvsChains(
  run: RunCommand,
  tool: string,
  family: IpFamily,
): Promise<readonly string[]> {
  // Of any options: the names are the same for all.
  const chains = ipvsChains({
    family,
    masqueradeMark: 1,
    masqueradeAll: false,
    podRange: undefined,
    shortCircuits: [],
  })
  const names = await new OwnedChains(run, tool).remove(chains)
  if (names.length === 0) return []
  // After the chain that leads to them.
  const text = await runChecked(run, `${tool}-save`, ['-t', 'nat'])
  const ports = [...text.matchAll(/^:(\S+) /gm)]
    .map(([, name = '']) => name)
    .filter((name) => PORT_CHAIN_PATTERN.test(name))
  if (ports.length > 0) {
    const lines = ['*nat', ...ports.map((name) => `-F ${name}`), ...ports.map((n) => `-X ${n}`)]
    await restoreRules(run, tool, [...lines, 'COMMIT', ''].join('\n'))
  }
  return [...names, ...ports.map((name) => `nat/${name}`)].map((name) => `${tool} chain ${name}`)
}
