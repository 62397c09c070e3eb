/** What `kube-sluice explain` is asked: a connection that has not come yet. Pure. */
import { SluiceError } from '../../lib/errors.js'
import { familyOf, parseIpAddress, splitAddress } from '../../lib/ip-address.js'
import type { Protocol } from '../../model/service-port.js'

export interface Question {
  readonly protocol: Protocol
  /** Canonical, as is `address`; both of one family. */
  readonly client: string
  /** 1..65535; undefined: any. */
  readonly clientPort: number | undefined
  readonly address: string
  /** 1..65535 */
  readonly port: number
}

const PROTOCOLS: readonly Protocol[] = ['TCP', 'UDP', 'SCTP']
const WITH_PORT = /^(?:\[[0-9a-fA-F:.]+\]|[0-9.]+):\d{1,5}$/

/**
 * Reads `tcp`, `10.0.0.5` or `10.0.0.5:40000`, `10.96.0.10:443` or `[fd00::10]:443`.
 * Throws SluiceError ERR_USAGE, one line.
 */
export function parseQuestion(protocol: string, client: string, vip: string): Question {
  const known = PROTOCOLS.find((name) => name === protocol.toUpperCase())
  if (known === undefined) throw usage(`protocol "${protocol}": use tcp, udp or sctp`)
  const asked = parseWithPort(client)
  const from = asked?.ip ?? parseIpAddress(client)
  if (from === undefined) {
    throw usage(`client "${client}" is not an IP address, nor one with a port as 10.0.0.5:40000`)
  }
  const to = parseWithPort(vip)
  if (to === undefined) {
    throw usage(`destination "${vip}": write ADDRESS:PORT, as 10.96.0.10:443 or [fd00::10]:443`)
  }
  if (familyOf(from) !== familyOf(to.ip)) {
    throw usage(`client ${from} and destination ${to.ip} are of different IP families`)
  }
  const { ip: address, port } = to
  return { protocol: known, client: from, clientPort: asked?.port, address, port }
}

function parseWithPort(text: string): { readonly ip: string; readonly port: number } | undefined {
  if (!WITH_PORT.test(text)) return undefined
  const { ip: written, port } = splitAddress(text)
  const ip = parseIpAddress(written)
  return ip === undefined || port < 1 || port > 65_535 ? undefined : { ip, port }
}

function usage(message: string): SluiceError {
  return new SluiceError('ERR_USAGE', `explain: ${message}`)
}
