/**
 * A small HTTP server for health, metrics address and the like: GET and HEAD of fixed paths, each
 * answered from memory. Bounds: node:http's own header and request time-outs, and MAX_CONNECTIONS.
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { BindAddress } from '../config/run-config.js'
import { messageOf, SluiceError } from '../lib/errors.js'
import { formatAddress } from '../lib/ip-address.js'
import type { HostCheck } from './host-check.js'
import type { Logger } from './log.js'

const MAX_CONNECTIONS = 256
const RETRY_MS = 5000

export interface Answer {
  readonly status: number
  readonly contentType: string
  readonly body: string
  readonly headers?: Readonly<Record<string, string>>
}

/** What a path answers to a query; one that takes time does so without holding up others. */
export type Answerer = (query: URLSearchParams) => Answer | Promise<Answer>

/** Answers a GET by itself and may go on doing so, as a stream of events. */
export type Streamer = (request: IncomingMessage, response: ServerResponse) => void

export interface HttpServerOptions {
  readonly name: string
  readonly bind: BindAddress
  readonly paths: ReadonlyMap<string, Answerer>
  readonly streams?: ReadonlyMap<string, Streamer>
  /** Which Host headers are answered; absent: all. */
  readonly takesHost?: HostCheck | undefined
  /** A bind that fails is an error, in place of being tried again every 5 s. */
  readonly hardFail: boolean
  readonly log: Logger
}

/** Starts serving; the function that is returned stops it, idempotently. Throws ERR_LISTEN with hardFail. */
export async function serve(options: HttpServerOptions): Promise<() => Promise<void>> {
  const { name, bind, hardFail, log } = options
  const server = createServer((request, response) => {
    void respond(options, request, response)
  })
  server.maxConnections = MAX_CONNECTIONS
  let retry: NodeJS.Timeout | undefined
  const listen = async (): Promise<void> => {
    try {
      server.listen({ host: bind.address, port: bind.port })
      await once(server, 'listening')
    } catch (error) {
      const where = formatAddress(bind.address, bind.port)
      const message = `${name} address ${where} cannot be bound: ${messageOf(error)}`
      if (hardFail) {
        throw new SluiceError('ERR_LISTEN', `${message}; free it or choose another`, {
          cause: error,
        })
      }
      log.warn(`${message}; tried again every 5 s`)
      retry = setTimeout(() => void listen(), RETRY_MS)
      retry.unref()
    }
  }
  await listen()
  return async () => {
    clearTimeout(retry)
    if (!server.listening) return
    const closed = once(server, 'close')
    server.close()
    server.closeAllConnections()
    await closed
  }
}

/** An answer of JSON. */
export function json(value: unknown, status = 200): Answer {
  return { status, contentType: 'application/json', body: JSON.stringify(value) }
}

/** An answer of plain text. */
export function plain(body: string, status = 200): Answer {
  return { status, contentType: 'text/plain; charset=utf-8', body }
}

async function respond(
  { name, paths, streams, log, takesHost }: HttpServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const [path = '/', query = ''] = (request.url ?? '/').split('?', 2)
  const isRead = request.method === 'GET' || request.method === 'HEAD'
  const { host } = request.headers
  const isCalledSo = takesHost?.(host) ?? true
  const isStreamed = isCalledSo && request.method === 'GET'
  const streamer = isStreamed ? streams?.get(path) : undefined
  if (streamer !== undefined) {
    streamer(request, response)
    return
  }
  const answer = !isCalledSo
    ? plain(
        `this address is not called "${host ?? ''}": --metrics-allowed-hosts has its names\n`,
        403,
      )
    : isRead
      ? await answerOf(paths, path, query).catch((error: unknown) => {
          log.error({ error: messageOf(error) }, `${name}: ${path} cannot be answered`)
          return plain('internal error; the log says more\n', 500)
        })
      : plain('only GET and HEAD\n', 405)
  response.writeHead(answer.status, {
    'Content-Type': answer.contentType,
    'Content-Length': Buffer.byteLength(answer.body),
    'X-Content-Type-Options': 'nosniff',
    'Cache-Control': 'no-store',
    ...answer.headers,
  })
  response.end(request.method === 'HEAD' ? undefined : answer.body)
}

async function answerOf(
  paths: HttpServerOptions['paths'],
  path: string,
  query: string,
): Promise<Answer> {
  const answerer = paths.get(path)
  if (answerer !== undefined) return answerer(new URLSearchParams(query))
  return plain(`no such path; there is: ${[...paths.keys()].join(' ')}\n`, 404)
}
