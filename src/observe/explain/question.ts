/** What `kube-sluice explain` is asked: a connection that has not come yet. Pure. */
import { SluiceError } from '../../lib/errors.js'
import { familyOf, parseIpAddress, splitAddress } from '../../lib/ip-address.js'
import type { Protocol } from '../../model/service-port.js'

export interface Question {
  readonly protocol: Protocol
  /** Canonical, as is `address`; both of one family. */
  readonly client: string
  readonly address: string
  /** 1..65535 */
  readonly port: number
}

const PROTOCOLS: readonly Protocol[] = ['TCP', 'UDP', 'SCTP']
const DESTINATION = /^(?:\[[0-9a-fA-F:.]+\]|[0-9.]+):\d{1,5}$/

/** Reads `tcp`, `10.0.0.5`, `10.96.0.10:443` or `[fd00::10]:443`. Throws SluiceError ERR_USAGE, one line. */
export function parseQuestion(protocol: string, client: string, vip: string): Question {
  const known = PROTOCOLS.find((name) => name === protocol.toUpperCase())
  if (known === undefined) throw usage(`protocol "${protocol}": use tcp, udp or sctp`)
  const from = parseIpAddress(client)
  if (from === undefined) throw usage(`client "${client}" is not an IP address`)
  const { ip, port } = splitAddress(vip)
  const address = DESTINATION.test(vip) ? parseIpAddress(ip) : undefined
  if (address === undefined || port < 1 || port > 65_535) {
    throw usage(`destination "${vip}": write ADDRESS:PORT, as 10.96.0.10:443 or [fd00::10]:443`)
  }
  if (familyOf(from) !== familyOf(address)) {
    throw usage(`client ${from} and destination ${address} are of different IP families`)
  }
  return { protocol: known, client: from, address, port }
}

function usage(message: string): SluiceError {
  return new SluiceError('ERR_USAGE', `explain: ${message}`)
}
