/**
 * One kube-sluice at a time in a network namespace: two would remove each other's rules as left-overs.
 *
 * The claim is a listening socket of the abstract Unix namespace, which belongs to the network
 * namespace (unix(7)), as the rules do, and is gone with its process however that ends: no file can be
 * left behind. Who connects is told the owner's process id. `ss -xlp` shows it as @kube-sluice.
 * Bounds: a new process waits `waitMs` for the old one, which may be draining.
 */
import { connect, createServer, type Server } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { SluiceError } from '../lib/errors.js'

/** sun_path of linux/un.h without the leading zero. Older libuv fills it up with zeros: so do we. */
const NAME_BYTES = 107
const ADDRESS = `\0kube-sluice${'\0'.repeat(NAME_BYTES - 'kube-sluice'.length)}`
const RETRY_MS = 100
const ANSWER_TIMEOUT_MS = 1000

export interface NodeClaim {
  /** Gives it up. Idempotent. */
  close(): Promise<void>
}

export interface ClaimOptions {
  /** How long the old one may take to end, in milliseconds. */
  readonly waitMs: number
  /** Aborts when this process is to stop. */
  readonly signal: AbortSignal
  /** Told once, with the owner's process id or `unknown`. */
  readonly onWait: (owner: string) => void
}

/**
 * Resolves when this process is the only one; to undefined when the signal aborts before. Throws
 * SluiceError when another one still runs after `waitMs`.
 */
export async function claimNode({
  waitMs,
  signal,
  onWait,
}: ClaimOptions): Promise<NodeClaim | undefined> {
  const deadlineMs = performance.now() + waitMs
  let owner: string | undefined
  while (!signal.aborted) {
    const server = await listen()
    if (server !== undefined) return { close: () => close(server) }
    if (owner === undefined) {
      owner = await askOwner()
      onWait(owner)
    }
    if (performance.now() >= deadlineMs) {
      throw new SluiceError(
        'ERR_LISTEN',
        `another kube-sluice (process ${owner}) runs in this network namespace, and two would remove each other's rules; stop it first`,
      )
    }
    await sleep(RETRY_MS)
  }
  return undefined
}

/** Undefined when another process has it. */
function listen(): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      socket.on('error', () => undefined) // gone before it had its answer
      socket.end(String(process.pid))
    })
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined)
      else reject(new SluiceError('ERR_LISTEN', `the claim on the node: ${error.message}`))
    })
    server.listen({ path: ADDRESS }, () => {
      // The claim alone does not keep the process going.
      server.unref()
      resolve(server)
    })
  })
}

function askOwner(): Promise<string> {
  return new Promise((resolve) => {
    let answer = ''
    const socket = connect({ path: ADDRESS })
    socket.setTimeout(ANSWER_TIMEOUT_MS, () => socket.destroy())
    socket.on('data', (chunk) => {
      answer = (answer + String(chunk)).slice(0, 20)
    })
    socket.on('error', () => undefined) // close follows
    socket.on('close', () => {
      resolve(/^\d+$/.test(answer) ? answer : 'unknown')
    })
  })
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => {
      resolve()
    })
  })
}
