/**
 * Deleting UDP entries of connection tracking, so that a flow whose destination changed is
 * translated anew with its next datagram. TCP is never touched: a connection ends with its socket.
 */
import { type IpFamily, parseIpAddress } from '../lib/ip-address.js'
import { commandFailure, type RunCommand, runChecked } from './command.js'

export interface UdpDestination {
  /** Canonical. */
  readonly address: string
  readonly port: number
}

/**
 * Deletes the entries whose original destination is one of `destinations`; returns how many
 * destinations had any. The table is listed once, so destinations without a flow cost nothing.
 * @throws SluiceError ERR_TOOL
 */
export async function deleteUdpEntries(
  run: RunCommand,
  family: IpFamily,
  destinations: readonly UdpDestination[],
): Promise<number> {
  if (destinations.length === 0) return 0
  const protocol = ['-p', 'udp', '-f', family === 'IPv4' ? 'ipv4' : 'ipv6']
  const wanted = new Map(destinations.map((one) => [keyOf(one.address, one.port), one]))
  const used = usedDestinations(await runChecked(run, 'conntrack', ['-L', ...protocol]))
  const doomed = [...wanted].filter(([key]) => used.has(key)).map(([, one]) => one)
  for (const { address, port } of doomed) {
    const match = ['--orig-dst', address, '--orig-port-dst', String(port)]
    const args = ['-D', ...protocol, ...match]
    const result = await run('conntrack', args)
    // Status 1 with "0 flow entries have been deleted": they ended in between.
    const isGone = / 0 flow entries/.test(result.stderr)
    if (result.status !== 0 && !isGone) throw commandFailure('conntrack', args, result)
  }
  return doomed.length
}

/** Of a line `udp 17 29 src=A dst=B sport=C dport=D src=...` the first dst and dport count. */
function usedDestinations(listing: string): ReadonlySet<string> {
  const used = new Set<string>()
  for (const line of listing.split('\n')) {
    const match = /^udp .*?\bdst=(\S+) .*?\bdport=(\d+)/.exec(line)
    if (match?.[1] === undefined) continue
    used.add(keyOf(parseIpAddress(match[1]) ?? match[1], Number(match[2])))
  }
  return used
}

function keyOf(address: string, port: number): string {
  return `${address} ${port}`
}
