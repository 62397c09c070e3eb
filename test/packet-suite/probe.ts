/**
 * What runs in the namespaces of the suite: servers that say who they are and whom they see, and
 * clients that ask. Both functions are sent to an agent as text, so they see nothing of this file.
 */
import type { AgentContext } from '../fixtures/agent.js'

export interface Listen {
  readonly name: string
  readonly host: string
  readonly port: number
  readonly udp: boolean
}

/** One question: who answers there? */
export interface Probe {
  /** Asked in turn. */
  readonly targets: readonly { readonly host: string; readonly port: number }[]
  readonly udp: boolean
  /** Ask by HTTP, of a health-check node port: the answer is `HTTP-STATUS-ENDPOINTS`. */
  readonly isHealth: boolean
  /** Address to ask from; undefined: the kernel's choice. */
  readonly source: string | undefined
  /** Ask at least so often, and on, up to `most`, until each of `wanted` has answered. */
  readonly least: number
  readonly most: number
  readonly wanted: readonly string[]
  /** The first alone, then the others: for who is to be remembered. */
  readonly inOrder: boolean
  readonly timeoutMs: number
}

/** Answers with its name and the address that it sees, on TCP and, if wanted, UDP. */
export async function listenAll(
  { net, dgram, once }: AgentContext,
  requests: readonly Listen[],
): Promise<void> {
  for (const { name, host, port, udp } of requests) {
    const server = net.createServer((socket) => {
      socket.on('error', () => undefined)
      socket.end(`${name} ${(socket.remoteAddress ?? '').replace('::ffff:', '')}`)
    })
    server.listen({ host, port, backlog: 1024 })
    await once(server, 'listening')
    if (!udp) continue
    const socket = dgram.createSocket(host.includes(':') ? 'udp6' : 'udp4')
    socket.on('message', (_, from) => {
      socket.send(`${name} ${from.address}`, from.port, from.address)
    })
    socket.bind(port, host)
    await once(socket, 'listening')
  }
}

/**
 * The distinct answers to each probe: what a server said, an errno name, or `silence`; `closed`
 * for a connection that ended without a word. At most `atOnce` connections at a time; those that
 * wait for nothing do not count.
 */
export async function probeAll(
  { net, dgram }: AgentContext,
  { probes, atOnce }: { probes: readonly Probe[]; atOnce: number },
): Promise<string[][]> {
  const ask = ({ targets, udp, isHealth, source, timeoutMs }: Probe, turn: number) =>
    new Promise<string>((resolve) => {
      const { host, port } = targets[turn % targets.length]!
      let close: () => void = () => undefined
      let again: NodeJS.Timeout | undefined
      const finish = (answer: string) => {
        clearTimeout(timer)
        clearInterval(again)
        close()
        resolve(answer)
      }
      const timer = setTimeout(finish, timeoutMs, 'silence')
      const failed = (error: NodeJS.ErrnoException | null) => {
        if (error !== null) finish(error.code ?? error.message)
      }
      if (udp) {
        const socket = dgram.createSocket(host.includes(':') ? 'udp6' : 'udp4')
        let isOpen = true
        close = () => {
          if (isOpen) socket.close()
          isOpen = false
        }
        socket.on('error', failed)
        socket.on('message', (message) => {
          finish(message.toString())
        })
        const connected = (error?: Error) => {
          if (error !== undefined) {
            failed(error)
            return
          }
          // The verdict of a rule on this host; what the rule says besides comes as an error of its own.
          const sent = (error: NodeJS.ErrnoException | null) => {
            if (error?.code !== 'EPERM') failed(error)
          }
          const send = () => {
            if (isOpen) socket.send('?', sent)
          }
          send()
          // A datagram that got lost, or an ICMP error that did.
          again = setInterval(send, 700)
        }
        socket.bind(0, source, () => {
          socket.connect(port, host, connected)
        })
        return
      }
      const socket = net.connect({
        host,
        port,
        ...(source === undefined ? {} : { localAddress: source }),
      })
      let text = ''
      close = () => socket.destroy()
      socket.on('error', failed)
      socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
      if (isHealth) socket.write('GET / HTTP/1.0\r\n\r\n')
      socket.on('end', () => {
        if (isHealth) {
          const [, status, count] = /^HTTP\S+ (\d+)[^]*"localEndpoints": (\d+)/.exec(text) ?? []
          text = `HTTP-${status}-${count}`
        }
        finish(text === '' ? 'closed' : text)
      })
    })
  let free = atOnce
  const waiting: (() => void)[] = []
  const bounded = async (probe: Probe, turn: number) => {
    if (probe.wanted.length === 0) return ask(probe, turn)
    if (free === 0) await new Promise<void>((resolve) => waiting.push(resolve))
    else free--
    const answer = await ask(probe, turn)
    const next = waiting.shift()
    if (next === undefined) free++
    else next()
    return answer
  }
  return Promise.all(
    probes.map(async (probe) => {
      const answers = new Set<string>()
      const isEnough = () =>
        probe.wanted.every((name) => [...answers].some((text) => text.split(' ')[0] === name))
      let turn = 0
      while (turn < probe.least || (turn < probe.most && !isEnough())) {
        const wave = probe.inOrder && turn === 0 ? 1 : Math.min(4, probe.least)
        const turns = Array.from({ length: wave }, () => bounded(probe, turn++))
        for (const answer of await Promise.all(turns)) answers.add(answer)
        // Nothing better is to come of a destination that did not answer once.
        if (answers.has('silence')) break
      }
      return [...answers].sort()
    }),
  )
}
