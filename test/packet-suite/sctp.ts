/** SCTP in the namespaces of the suite: test/fixtures/sctp-peer.pl, which needs no socket of that kind. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

import type { NetworkNamespaces } from '../../src/kernel/netns.js'
import type { Listen, Probe } from './probe.js'

const PEER = fileURLToPath(new URL('../fixtures/sctp-peer.pl', import.meta.url))
/** A user-mode kernel on a busy machine takes its time to start it. */
const START_MS = 60_000
/** A stack without SCTP: protocol unreachable, or over IPv6 a next header that it does not know. */
const NO_STACK = ['ENOPROTOOPT', 'EPROTO']

/** Answers with its name and the address that it sees. */
export async function serveSctp(
  namespaces: NetworkNamespaces,
  netns: string,
  listens: readonly Omit<Listen, 'udp'>[],
): Promise<void> {
  const { child, next } = startPeer(namespaces, netns, 'serve')
  const lines = listens.map(({ name, host, port }) => `${name} ${host} ${port}\n`)
  child.stdin?.write(`${lines.join('')}\n`)
  const said = await next(START_MS)
  if (said !== 'ready') throw new Error(`SCTP cannot be served in ${netns}: ${said}`)
}

export class SctpClient {
  readonly #start: () => Peer
  #peer: Peer | undefined

  constructor(namespaces: NetworkNamespaces, netns: string) {
    this.#start = () => startPeer(namespaces, netns, 'ask')
  }

  /** The distinct answers to each probe, as probeAll gives them; `no SCTP` of a host without it. */
  async askAll(probes: readonly Probe[]): Promise<string[][]> {
    const answers: string[][] = []
    for (const probe of probes) answers.push(await this.#askUntil(probe))
    return answers
  }

  async #askUntil({ targets, source, timeoutMs, least, most, wanted }: Probe): Promise<string[]> {
    const answers = new Set<string>()
    const isEnough = () =>
      wanted.every((name) => [...answers].some((text) => text.split(' ')[0] === name))
    for (let turn = 0; turn < least || (turn < most && !isEnough()); turn++) {
      const { host, port } = targets[turn % targets.length]!
      this.#peer ??= this.#start()
      this.#peer.child.stdin?.write(`${source ?? '-'} ${host} ${port} ${timeoutMs}\n`)
      const answer = await this.#peer.next(timeoutMs + START_MS)
      answers.add(NO_STACK.includes(answer) ? 'no-SCTP' : answer)
      if (answers.has('silence')) break
    }
    return [...answers].sort()
  }
}

interface Peer {
  readonly child: ChildProcess
  readonly next: (timeoutMs: number) => Promise<string>
}

/** Both end with their namespaces. `next`: its next line. */
function startPeer(namespaces: NetworkNamespaces, netns: string, role: 'serve' | 'ask'): Peer {
  const child = namespaces.spawn(netns, ['perl', PEER, role], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  child.stdin?.on('error', () => undefined)
  const lines = createInterface({ input: child.stdout! })
  const next = async (timeoutMs: number): Promise<string> => {
    if (child.exitCode !== null) throw new Error(`sctp-peer.pl ended: ${child.exitCode}`)
    const [line] = (await once(lines, 'line', { signal: AbortSignal.timeout(timeoutMs) })) as [
      string,
    ]
    return line
  }
  return { child, next }
}
