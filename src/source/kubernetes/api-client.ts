/**
 * Requests to the API server: HTTP/1.1 on kept connections, JSON, at most `qps` a second. Answers of
 * 200 are streams, everything else is an ApiError. What hangs is bounded: the head of an answer by
 * HEAD_TIMEOUT_MS, its body by the idle time-out that the caller names.
 */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest, type RequestOptions } from 'node:https'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { createGunzip } from 'node:zlib'
import { systemClock } from '../../lib/clock.js'
import { messageOf, SluiceError } from '../../lib/errors.js'
import { TokenBucket } from '../../lib/token-bucket.js'
import { errorFromStatus } from './api-error.js'
import type { ClusterAccess, Credentials } from './cluster-access.js'

const HEAD_TIMEOUT_MS = 35_000
/** A peer that is gone without a word is noticed after this and ten probes of a second each. */
const KEEP_ALIVE_MS = 15_000
/** An answer that is read as a whole: a Status, an Event. */
const MAX_BODY_BYTES = 256 * 1024

export interface ApiClientOptions {
  readonly access: ClusterAccess
  readonly userAgent: string
  /** Requests a second, and at once (kube-proxy's --kube-api-qps, --kube-api-burst); 0: no limit. */
  readonly qps: number
  readonly burst: number
  /** Told of every request once the head of its answer is there, or when there is none. */
  readonly onAnswer?: (answer: ApiAnswer) => void
}

export interface ApiAnswer {
  readonly method: string
  readonly host: string
  /** undefined: there was no answer. */
  readonly status: number | undefined
  readonly seconds: number
}

export interface ApiRequest {
  readonly method?: 'GET' | 'POST' | 'PATCH'
  /** With its query; begins with `/`. */
  readonly path: string
  readonly body?: unknown
  readonly contentType?: string
  /** Whether the answer may come compressed. */
  readonly gzip?: boolean
  readonly signal: AbortSignal
}

export class ApiClient {
  readonly #options: ApiClientOptions
  readonly #bucket: TokenBucket
  #agent: HttpAgent | HttpsAgent | undefined
  /** What the agent was made of: other certificates need another one. */
  #agentKey = ''

  constructor(options: ApiClientOptions) {
    this.#options = options
    this.#bucket = new TokenBucket(options.qps, options.burst, systemClock)
  }

  /** Host and port, for messages. */
  get server(): string {
    return this.#options.access.server.host
  }

  /**
   * The body of the answer. Throws ApiError for a status other than 2xx, SluiceError ERR_API when
   * there is no answer; rejects when the signal aborts.
   */
  async open(request: ApiRequest): Promise<Readable> {
    const waitMs = this.#bucket.reserve()
    if (waitMs > 0) await sleep(waitMs, undefined, { signal: request.signal, ref: false })
    const credentials = await this.#options.access.credentials()
    const response = await this.#timed(request, credentials)
    const isZipped = response.headers['content-encoding'] === 'gzip'
    const body = isZipped ? response.pipe(createGunzip()) : response
    if (isZipped) response.on('error', (error) => body.destroy(error))
    const { statusCode: status = 0 } = response
    if (status >= 200 && status < 300) return body
    if (status === 401) this.#options.access.rejected()
    const text = await wholeText(body)
    throw errorFromStatus(describe(request), status, text, response.headers['retry-after'])
  }

  /** The same for a small answer, parsed. */
  async call(request: ApiRequest): Promise<unknown> {
    const text = await wholeText(await this.open(request))
    return JSON.parse(text) as unknown
  }

  /** Ends every connection. Idempotent. */
  close(): void {
    this.#agent?.destroy()
  }

  async #timed(request: ApiRequest, credentials: Credentials): Promise<IncomingMessage> {
    const startedMs = performance.now()
    const tell = (status: number | undefined): void => {
      const { method = 'GET' } = request
      const seconds = (performance.now() - startedMs) / 1000
      this.#options.onAnswer?.({ method, host: this.server, status, seconds })
    }
    try {
      const response = await this.#respond(request, credentials)
      tell(response.statusCode)
      return response
    } catch (error) {
      // A request that we gave up says nothing of the server.
      if (!request.signal.aborted) tell(undefined)
      throw error
    }
  }

  async #respond(request: ApiRequest, credentials: Credentials): Promise<IncomingMessage> {
    const { method = 'GET', body, contentType = 'application/json', gzip, signal } = request
    const { server } = this.#options.access
    const base = server.pathname.replace(/\/$/, '')
    const text = body === undefined ? undefined : JSON.stringify(body)
    const options: RequestOptions = {
      method,
      path: `${base}${request.path}`,
      host: server.hostname.replace(/^\[|\]$/g, ''),
      port: server.port === '' ? (server.protocol === 'https:' ? 443 : 80) : Number(server.port),
      agent: this.#agentFor(credentials),
      headers: {
        ...credentials.headers,
        Accept: 'application/json',
        'User-Agent': this.#options.userAgent,
        ...(gzip === true ? { 'Accept-Encoding': 'gzip' } : {}),
        ...(text === undefined
          ? {}
          : { 'Content-Type': contentType, 'Content-Length': Buffer.byteLength(text) }),
      },
      signal,
    }
    // A kept connection may have been closed by the server at this very moment: once more, then.
    for (let isRetry = false; ; isRetry = true) {
      try {
        return await this.#send(options, text)
      } catch (error) {
        signal.throwIfAborted()
        if (!isRetry && error instanceof StaleConnection) continue
        const message = `${describe(request)}: ${messageOf(error)}`
        throw new SluiceError('ERR_API', message, { cause: error })
      }
    }
  }

  #send(options: RequestOptions, text: string | undefined): Promise<IncomingMessage> {
    const isPlain = this.#options.access.server.protocol === 'http:'
    return new Promise((resolve, reject) => {
      const outgoing = (isPlain ? httpRequest : httpsRequest)(options)
      const timer = setTimeout(() => {
        outgoing.destroy(new Error(`no answer within ${HEAD_TIMEOUT_MS / 1000} s`))
      }, HEAD_TIMEOUT_MS)
      timer.unref()
      outgoing.on('response', (response) => {
        clearTimeout(timer)
        resolve(response)
      })
      outgoing.on('error', (error: NodeJS.ErrnoException) => {
        clearTimeout(timer)
        const isStale = outgoing.reusedSocket && ['ECONNRESET', 'EPIPE'].includes(error.code ?? '')
        reject(isStale ? new StaleConnection(error.message) : error)
      })
      outgoing.end(text)
    })
  }

  #agentFor({ ca, cert, key }: Credentials): HttpAgent | HttpsAgent {
    const agentKey = [ca, cert, key].map((part) => String(part ?? '')).join('\0')
    if (this.#agent !== undefined && agentKey === this.#agentKey) return this.#agent
    const { server, serverName, isInsecure } = this.#options.access
    const kept = { keepAlive: true, keepAliveMsecs: KEEP_ALIVE_MS }
    this.#agentKey = agentKey
    // Requests under way keep the old agent's connections, which end with them.
    this.#agent =
      server.protocol === 'http:'
        ? new HttpAgent(kept)
        : new HttpsAgent({
            ...kept,
            ...(ca === undefined ? {} : { ca }),
            ...(cert === undefined ? {} : { cert }),
            ...(key === undefined ? {} : { key }),
            ...(serverName === undefined ? {} : { servername: serverName }),
            rejectUnauthorized: !isInsecure,
          })
    return this.#agent
  }
}

class StaleConnection extends Error {}

/**
 * The chunks of a body. Throws ERR_API when none comes for `idleMs()`, when the connection breaks, and
 * when the signal aborts. Ends the connection when the caller stops reading before the end.
 */
export async function* chunksOf(body: Readable, idleMs: () => number): AsyncGenerator<Buffer> {
  let idle: NodeJS.Timeout | undefined
  const listen = (): void => {
    clearTimeout(idle)
    const ms = idleMs()
    idle = setTimeout(() => {
      body.destroy(new Error(`nothing came for ${ms / 1000} s`))
    }, ms)
    idle.unref()
  }
  try {
    listen()
    for await (const chunk of body) {
      yield chunk as Buffer
      listen()
    }
  } catch (error) {
    throw new SluiceError('ERR_API', `the connection broke: ${messageOf(error)}`, { cause: error })
  } finally {
    clearTimeout(idle)
    body.destroy()
  }
}

async function wholeText(body: Readable): Promise<string> {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const chunk of chunksOf(body, () => HEAD_TIMEOUT_MS)) {
    bytes += chunk.length
    if (bytes > MAX_BODY_BYTES) break
    parts.push(chunk)
  }
  return Buffer.concat(parts).toString('utf8')
}

function describe({ method = 'GET', path }: ApiRequest): string {
  return `${method} ${path.split('?', 1)[0] ?? ''}`
}
