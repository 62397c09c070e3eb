/** Connections in the kernel's table, by who opened them and to where. */
import { type IpFamily, familyOf } from '../lib/ip-address.js'
import { SluiceError } from '../lib/errors.js'
import { addressWords, equalAddresses, formatAddressWords } from '../packet/address-words.js'
import { CONNTRACK_WORDS, ConntrackStatus, ConntrackWord } from '../packet/conntrack-word.js'
import { IpProtocol } from '../packet/packet-word.js'
import { TcpState } from '../packet/tcp-state.js'
import { ConntrackDump } from './conntrack-table.js'
import { waitReadable } from './wait.js'

export interface Tuple {
  readonly protocol: 'TCP' | 'UDP' | 'SCTP'
  readonly client: string
  /** undefined: any. */
  readonly clientPort: number | undefined
  readonly address: string
  readonly port: number
}

export interface TrackedConnection {
  readonly clientPort: number
  /** Who answers: the endpoint, once translated; else the address itself. */
  readonly server: string
  readonly serverPort: number
  /** Whom the server sees. */
  readonly seenClient: string
  /** As `conntrack -L` names it; undefined when it is not TCP. */
  readonly state: string | undefined
  readonly hasReply: boolean
  readonly isAssured: boolean
  readonly secondsLeft: number
  readonly mark: number
}

const PROTOCOLS = { TCP: IpProtocol.tcp, UDP: IpProtocol.udp, SCTP: IpProtocol.sctp } as const
const STATES: ReadonlyMap<number, string> = new Map(
  Object.entries(TcpState).map(([name, number]) => [
    number,
    name
      .replace(/[A-Z]/g, (letter) => `_${letter}`)
      .toUpperCase()
      .replace('RECEIVED', 'RECV'),
  ]),
)
/** A table of a million entries takes a second or two. */
const DEADLINE_MS = 15_000
const WAIT_MS = 1000

/**
 * At most `limit` of this network namespace's. Blocks the thread.
 * @throws KernelError, e.g. without CAP_NET_ADMIN; SluiceError ERR_TIMEOUT
 */
export function findConnections(tuple: Tuple, limit: number): TrackedConnection[] {
  const family: IpFamily = familyOf(tuple.address)
  const dump = new ConntrackDump({ family, protocol: PROTOCOLS[tuple.protocol] })
  try {
    return collect(dump, tuple, limit)
  } finally {
    dump.close()
  }
}

function collect(dump: ConntrackDump, tuple: Tuple, limit: number): TrackedConnection[] {
  const { records } = dump
  const isWanted = matcher(records, tuple)
  const found: TrackedConnection[] = []
  const deadlineMs = performance.now() + DEADLINE_MS
  for (;;) {
    const count = dump.receive()
    if (typeof count !== 'number') return found
    for (let i = 0; i < count; i++) {
      const base = i * CONNTRACK_WORDS
      if (isWanted(base)) found.push(readConnection(records, base))
      if (found.length >= limit) return found
    }
    if (count === 0) waitReadable(Int32Array.of(dump.fd), WAIT_MS)
    if (performance.now() > deadlineMs) {
      throw new SluiceError('ERR_TIMEOUT', 'the table of connections could not be read in 15 s')
    }
  }
}

function matcher(records: Uint32Array, tuple: Tuple): (base: number) => boolean {
  const client = addressWords(tuple.client)
  const address = addressWords(tuple.address)
  const { clientPort, port } = tuple
  return (base) =>
    records[base + ConntrackWord.destinationPort] === port &&
    (clientPort === undefined || records[base + ConntrackWord.sourcePort] === clientPort) &&
    equalAddresses(records, base + ConntrackWord.source, client, 0) &&
    equalAddresses(records, base + ConntrackWord.destination, address, 0)
}

function readConnection(records: Uint32Array, base: number): TrackedConnection {
  const word = (at: number): number => records[base + at] ?? 0
  const family = word(ConntrackWord.family)
  const status = word(ConntrackWord.status)
  const isTcp = word(ConntrackWord.protocol) === IpProtocol.tcp
  return {
    clientPort: word(ConntrackWord.sourcePort),
    server: formatAddressWords(records, base + ConntrackWord.replySource, family),
    serverPort: word(ConntrackWord.replySourcePort),
    seenClient: formatAddressWords(records, base + ConntrackWord.replyDestination, family),
    state: isTcp ? (STATES.get(word(ConntrackWord.tcpState)) ?? 'NONE') : undefined,
    hasReply: (status & ConntrackStatus.seenReply) !== 0,
    isAssured: (status & ConntrackStatus.assured) !== 0,
    secondsLeft: word(ConntrackWord.timeout),
    mark: word(ConntrackWord.mark),
  }
}
