/**
 * One request of a demo client, on a new connection (for DNS: a new socket), to its end: what
 * answered, or a RequestError. Replies are checked, not only awaited.
 */
import dgram from 'node:dgram'
import net from 'node:net'
import { encodeQuery, parseReply, RCODE_NO_ERROR, TYPE_A, TYPE_TXT } from './dns-message.js'
import type { DemoServiceName, Target } from './topology.js'

/** A resolver asks again after this long, as resolv.conf(5) resolvers do (theirs is 5 s). */
const DNS_RESEND_MS = 1_000
const REPLY_LIMIT_BYTES = 4_096

/** `isReset`: the other side ended the connection before the reply was complete. */
export class RequestError extends Error {
  readonly isReset: boolean

  constructor(message: string, isReset: boolean) {
    super(message)
    this.name = 'RequestError'
    this.isReset = isReset
  }
}

export interface RequestOptions {
  readonly target: Target
  readonly timeoutMs: number
  /** Distinguishes this request's reply from any other: 0..65535. */
  readonly nonce: number
  /** A DNS query was sent once more. */
  readonly onResend: () => void
}

/** Resolves with the name of the pod that served it; rejects with RequestError. */
export function request(service: DemoServiceName, options: RequestOptions): Promise<string> {
  switch (service) {
    case 'echo':
      return requestEcho(options)
    case 'http':
      return requestHttp(options)
    case 'dns':
      return requestDns(options)
  }
}

async function requestEcho(options: RequestOptions): Promise<string> {
  const line = `hello ${options.nonce}\n`
  const reply = await exchange(options, line, (received) => received.endsWith('\n'))
  const match = /^(\S+): (.*\n)$/.exec(reply)
  if (match?.[1] === undefined || match[2] !== line) throw wrongReply(reply)
  return match[1]
}

/** HTTP by hand: node:http's agent would make it a test of connection pools. */
async function requestHttp(options: RequestOptions): Promise<string> {
  const path = `/r/${options.nonce}`
  const head = `GET ${path} HTTP/1.1\r\nHost: http.demo.svc\r\nConnection: close\r\n\r\n`
  const reply = await exchange(options, head, undefined)
  const pod = /^HTTP\/1\.1 200 .*?\r\nx-pod: (\S+)\r\n/s.exec(reply)?.[1]
  if (pod === undefined || !reply.includes(`${pod} answers GET ${path}\n`)) throw wrongReply(reply)
  return pod
}

/**
 * Sends `text` on a new connection and returns what comes back: up to where `isComplete` says so, or
 * up to the other side's FIN when it is undefined.
 */
function exchange(
  options: RequestOptions,
  text: string,
  isComplete: ((received: string) => boolean) | undefined,
): Promise<string> {
  return new Promise((resolve, reject) => {
    let received = ''
    const { address, port } = options.target
    const socket = net.connect({ host: address, port, noDelay: true })
    const settle = (error: RequestError | undefined): void => {
      clearTimeout(timer)
      socket.destroy()
      if (error === undefined) resolve(received)
      else reject(error)
    }
    const timer = setTimeout(() => {
      settle(new RequestError(`no reply within ${options.timeoutMs} ms`, false))
    }, options.timeoutMs)
    socket.on('connect', () => socket.write(text))
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1')
      if (received.length > REPLY_LIMIT_BYTES) settle(wrongReply(received))
      else if (isComplete?.(received) === true) settle(undefined)
    })
    socket.on('end', () => {
      const isWhole = isComplete === undefined && received !== ''
      settle(isWhole ? undefined : new RequestError('closed before the reply', true))
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      settle(new RequestError(error.message, error.code === 'ECONNRESET'))
    })
  })
}

function requestDns(options: RequestOptions): Promise<string> {
  return new Promise((resolve, reject) => {
    const { address, port } = options.target
    const query = encodeQuery(options.nonce, `r${options.nonce}.demo.svc.cluster.local`, TYPE_A)
    const socket = dgram.createSocket(net.isIPv6(address) ? 'udp6' : 'udp4')
    const finish = (settle: () => void): void => {
      clearTimeout(timer)
      clearInterval(resend)
      socket.close()
      settle()
    }
    const fail = (message: string): void => {
      finish(() => {
        reject(new RequestError(message, false))
      })
    }
    const timer = setTimeout(() => {
      fail(`no reply within ${options.timeoutMs} ms`)
    }, options.timeoutMs)
    const resend = setInterval(() => {
      options.onResend()
      socket.send(query)
    }, DNS_RESEND_MS)
    socket.on('error', (error) => {
      fail(error.message)
    })
    socket.on('message', (message) => {
      const pod = podOf(message, options.nonce)
      if (pod === undefined) fail(`wrong reply: ${message.toString('hex')}`)
      else {
        finish(() => {
          resolve(pod)
        })
      }
    })
    socket.connect(port, address, () => {
      socket.send(query)
    })
  })
}

function podOf(message: Buffer, id: number): string | undefined {
  const reply = parseReply(message)
  if (reply?.id !== id || reply.rcode !== RCODE_NO_ERROR) return undefined
  if (!reply.records.some((record) => record.type === TYPE_A)) return undefined
  const txt = reply.records.find((record) => record.type === TYPE_TXT)?.text
  return txt === undefined ? undefined : /^pod=(\S+)$/.exec(txt)?.[1]
}

function wrongReply(reply: string): RequestError {
  return new RequestError(`wrong reply: ${JSON.stringify(reply.slice(0, 80))}`, false)
}
