/**
 * Most protocols tell their health in a few bytes over one TCP or TLS connection: something is
 * sent, something is expected. This does the connection; a protocol says what it sends and what it
 * makes of everything that has come so far.
 *
 * Bound: MAX_ANSWER_BYTES of answer.
 */
import { connect, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { errnoText } from './errno-text.js'
import {
  unhealthy,
  type ProbeDone,
  type ProbeResult,
  type ProbeTarget,
  type RunningProbe,
} from './probe.js'
import { tlsContext } from './tls-context.js'

export const MAX_ANSWER_BYTES = 65_536

/** What a protocol can do while it listens. */
export interface Talk {
  readonly received: Buffer
  /** The endpoint will send no more. */
  readonly isEnd: boolean
  write(bytes: Uint8Array | string): void
}

export interface Dialogue {
  /** Sent first. */
  readonly send?: Uint8Array | string
  /** What is waited for once the connection stands, as `an answer to PING`. */
  readonly wants: string
  /** Called when the connection stands; a result ends the probe. */
  readonly opened?: (socket: Socket) => ProbeResult | undefined
  /** Called whenever something has come and at the end; a result ends the probe. */
  readonly read?: (talk: Talk) => ProbeResult | undefined
  /** Handshake first; the server's name, if any. */
  readonly tls?: { readonly serverName: string | undefined; readonly alpn?: readonly string[] }
  /** Close with a reset: nothing was said, and no port is left in TIME_WAIT. */
  readonly resets?: boolean
}

export function startDialogue(
  { ip, port }: ProbeTarget,
  dialogue: Dialogue,
  done: ProbeDone,
): RunningProbe {
  const running = new RunningDialogue(dialogue, done)
  const { tls } = dialogue
  if (tls === undefined) {
    const socket = connect({ host: ip, port })
    running.listen(socket, 'connect')
    return running
  }
  const socket: TLSSocket = connectTls({
    host: ip,
    port,
    secureContext: tlsContext(),
    // Whether the certificate is the right one is for clients to say.
    rejectUnauthorized: false,
    ...(tls.serverName === undefined ? {} : { servername: tls.serverName }),
    ...(tls.alpn === undefined ? {} : { ALPNProtocols: [...tls.alpn] }),
  })
  socket.once('connect', () => {
    running.wants = 'TLS handshake'
  })
  running.listen(socket, 'secureConnect')
  return running
}

class RunningDialogue implements RunningProbe {
  readonly #dialogue: Dialogue
  readonly #done: ProbeDone
  #socket: Socket | undefined
  #received: Buffer = Buffer.alloc(0)
  wants = 'connection'

  constructor(dialogue: Dialogue, done: ProbeDone) {
    this.#dialogue = dialogue
    this.#done = done
  }

  cancel(): string {
    const socket = this.#socket
    this.#socket = undefined
    socket?.destroy()
    return this.wants
  }

  listen(socket: Socket, openEvent: 'connect' | 'secureConnect'): void {
    const { read, opened, send, wants } = this.#dialogue
    this.#socket = socket
    socket.on('error', (error) => {
      this.#end(unhealthy(errnoText(error)))
    })
    socket.once(openEvent, () => {
      const result = opened?.(socket)
      if (result !== undefined) {
        this.#end(result)
        return
      }
      this.wants = wants
      if (send !== undefined) socket.write(send)
    })
    if (read === undefined) return
    socket.on('data', (piece: Buffer) => {
      if (this.#socket !== socket) return
      this.#received = this.#received.length === 0 ? piece : Buffer.concat([this.#received, piece])
      this.#read(socket, false)
      if (this.#received.length > MAX_ANSWER_BYTES) {
        this.#end(unhealthy(`more than ${MAX_ANSWER_BYTES} bytes, and no ${wants} in them`))
      }
    })
    socket.once('end', () => {
      this.#read(socket, true)
      this.#end(unhealthy(`it closed the connection before ${wants} came`))
    })
    socket.once('close', () => {
      this.#end(unhealthy(`the connection ended before ${wants} came`))
    })
  }

  #read(socket: Socket, isEnd: boolean): void {
    const result = this.#dialogue.read?.({
      received: this.#received,
      isEnd,
      write: (bytes) => socket.write(bytes),
    })
    if (result !== undefined) this.#end(result)
  }

  #end(result: ProbeResult): void {
    const socket = this.#socket
    if (socket === undefined) return
    this.#socket = undefined
    if (this.#dialogue.resets === true) socket.resetAndDestroy()
    // What was said last still goes out.
    else if (result.isHealthy) socket.destroySoon()
    else socket.destroy()
    this.#done(result)
  }
}
