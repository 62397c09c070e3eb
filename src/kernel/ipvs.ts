/**
 * The kernel's table of IPVS virtual servers, through ipvsadm(8): read with `-Sn`, changed with `-R`.
 * Both write the same lines, which are here values. Forwarding is NAT (`-m`) throughout.
 *
 * `ipvsadm -R` carries out line after line, goes on after one that the kernel refuses, and ends
 * with status 0 all the same: what it says is the only sign (ipvsadm 1.31).
 */
import { formatAddress, parseIpAddress, splitAddress } from '../lib/ip-address.js'
import { type RunCommand, runChecked } from './command.js'

export type IpvsProtocol = 'TCP' | 'UDP' | 'SCTP'

export interface VirtualServer {
  readonly protocol: IpvsProtocol
  /** Canonical. */
  readonly address: string
  readonly port: number
  /** As the kernel's module is named: `rr`, `wlc`. */
  readonly scheduler: string
  /** Of the scheduler, sorted: `mh-fallback`, `mh-port`. */
  readonly flags: readonly string[]
  /** How long a client stays with its real server; undefined: it does not. */
  readonly persistentSeconds: number | undefined
  /** Weight (0..65535) by `ip:port`; with 0 it gets no new connections. */
  readonly realServers: ReadonlyMap<string, number>
}

/** By virtualServerKey(). */
export type VirtualServers = ReadonlyMap<string, VirtualServer>

/** Open connections of a real server; those that end (FIN_WAIT, TIME_WAIT) are inactive. */
export interface RealServerConnections {
  readonly active: number
  readonly inactive: number
}

const PROTOCOL_OPTIONS: Readonly<Record<IpvsProtocol, string>> = {
  TCP: '-t',
  UDP: '-u',
  SCTP: '--sctp-service',
}

/** `TCP 10.96.0.10:80` */
export function virtualServerKey({
  protocol,
  address,
  port,
}: Pick<VirtualServer, 'protocol' | 'address' | 'port'>): string {
  return `${protocol} ${formatAddress(address, port)}`
}

/** The option that names it: `-t 10.96.0.10:80`. */
export function virtualServerOption(
  server: Pick<VirtualServer, 'protocol' | 'address' | 'port'>,
): string {
  return `${PROTOCOL_OPTIONS[server.protocol]} ${formatAddress(server.address, server.port)}`
}

/** Adds (`-A`) or edits (`-E`) the virtual server; its real servers are lines of their own. */
export function virtualServerLine(verb: '-A' | '-E', server: VirtualServer): string {
  const { scheduler, persistentSeconds, flags } = server
  const persistence = persistentSeconds === undefined ? '' : ` -p ${persistentSeconds}`
  const schedulerFlags = flags.length === 0 ? '' : ` -b ${flags.join(',')}`
  return `${verb} ${virtualServerOption(server)} -s ${scheduler}${persistence}${schedulerFlags}`
}

/** Adds (`-a`) or edits (`-e`) a real server of it. */
export function realServerLine(
  verb: '-a' | '-e',
  server: VirtualServer,
  id: string,
  weight: number,
): string {
  return `${verb} ${virtualServerOption(server)} -r ${id} -m -w ${weight}`
}

/**
 * The virtual servers of the kernel. Those by firewall mark are not among them, as they have no
 * address. Throws SluiceError ERR_TOOL.
 */
export async function readVirtualServers(run: RunCommand): Promise<VirtualServers> {
  return parseVirtualServers(await runChecked(run, 'ipvsadm', ['-Sn']))
}

/** The output of `ipvsadm -Sn`. Lines of unknown form are passed over. */
export function parseVirtualServers(text: string): VirtualServers {
  const servers = new Map<string, VirtualServer & { realServers: Map<string, number> }>()
  for (const line of text.split('\n')) {
    const [verb, protocolOption, where, ...rest] = line.split(' ')
    const place = parsePlace(protocolOption, where)
    if (place === undefined) continue
    if (verb === '-A') {
      servers.set(virtualServerKey(place), {
        ...place,
        scheduler: valueOf(rest, '-s') ?? '',
        flags: (valueOf(rest, '-b') ?? '').split(',').filter((flag) => flag !== ''),
        persistentSeconds: numberOf(valueOf(rest, '-p')),
        realServers: new Map(),
      })
    } else if (verb === '-a') {
      const id = canonicalId(valueOf(rest, '-r'))
      const weight = numberOf(valueOf(rest, '-w')) ?? 1
      if (id !== undefined) servers.get(virtualServerKey(place))?.realServers.set(id, weight)
    }
  }
  return servers
}

/**
 * Carries out such lines; returns what ipvsadm said about those that the kernel refused, which is
 * nothing when all went well. Throws SluiceError ERR_TOOL when it cannot be run.
 */
export async function changeVirtualServers(
  run: RunCommand,
  lines: readonly string[],
): Promise<readonly string[]> {
  if (lines.length === 0) return []
  const input = lines.map((line) => `${line}\n`).join('')
  const result = await run('ipvsadm', ['-R'], input)
  const said = result.stderr.split('\n').filter((line) => line.trim() !== '')
  return said.length === 0 && result.status !== 0 ? [`exit ${result.status}`] : said
}

/**
 * Connections by virtualServerKey() and `ip:port`, of these virtual servers, or of all when they
 * are many. Throws SluiceError ERR_TOOL, e.g. when one has gone.
 */
export async function readConnections(
  run: RunCommand,
  servers: readonly VirtualServer[],
): Promise<ReadonlyMap<string, ReadonlyMap<string, RealServerConnections>>> {
  if (servers.length > MAX_SINGLE_LISTS) {
    return parseConnections(await runChecked(run, 'ipvsadm', LIST))
  }
  const texts: string[] = []
  for (const server of servers) {
    const place = virtualServerOption(server).split(' ')
    texts.push(await runChecked(run, 'ipvsadm', [...LIST, ...place]))
  }
  return parseConnections(texts.join('\n'))
}

/** More than this: one list of everything is cheaper than a process for each. */
const MAX_SINGLE_LISTS = 8
/** --exact: without it long IPv6 addresses are cut. */
const LIST = ['-L', '-n', '--exact']

function parseConnections(text: string): Map<string, Map<string, RealServerConnections>> {
  const found = new Map<string, Map<string, RealServerConnections>>()
  let current = new Map<string, RealServerConnections>()
  for (const line of text.split('\n')) {
    const words = line.trim().split(/\s+/)
    const [first = '', second = ''] = words
    if (first === '->') {
      const id = canonicalId(second)
      const [active = 0, inactive = 0] = words.slice(-2).map(Number)
      if (id !== undefined) current.set(id, { active, inactive })
      continue
    }
    const id = canonicalId(second)
    if (id === undefined) continue
    current = new Map()
    found.set(`${first} ${id}`, current)
  }
  return found
}

function parsePlace(
  option: string | undefined,
  where: string | undefined,
): Pick<VirtualServer, 'protocol' | 'address' | 'port'> | undefined {
  const [protocol] =
    Object.entries(PROTOCOL_OPTIONS).find(([, one]) => one === option) ?? ([] as string[])
  const id = canonicalId(where)
  if (protocol === undefined || id === undefined) return undefined
  const { ip, port } = splitAddress(id)
  return { protocol: protocol as IpvsProtocol, address: ip, port }
}

/** `[FD00::0001]:80` as we write it; undefined for what is no address with a port. */
function canonicalId(text: string | undefined): string | undefined {
  if (text === undefined || !/:\d+$/.test(text)) return undefined
  const { ip, port } = splitAddress(text)
  const address = parseIpAddress(ip)
  return address === undefined ? undefined : formatAddress(address, port)
}

function valueOf(words: readonly string[], option: string): string | undefined {
  const index = words.indexOf(option)
  return index < 0 ? undefined : words[index + 1]
}

function numberOf(text: string | undefined): number | undefined {
  const value = Number(text)
  return text === undefined || !Number.isInteger(value) ? undefined : value
}
