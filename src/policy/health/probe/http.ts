/**
 * http, https: one request, its status code, and the body where something is expected in it. Each
 * probe has a connection of its own: that connects succeed is part of what is asked.
 *
 * Bounds: node:http's own for headers, MAX_ANSWER_BYTES for the body.
 */
import { request as requestHttp, type IncomingMessage, type RequestOptions } from 'node:http'
import { request as requestHttps } from 'node:https'
import { isIP } from 'node:net'
import { TLSSocket } from 'node:tls'
import { formatAddress } from '../../../lib/ip-address.js'
import type { HealthCheck, StatusRange } from '../health-check.js'
import { expiryWarning } from './certificate-expiry.js'
import { MAX_ANSWER_BYTES } from './dialogue.js'
import { errnoText } from './errno-text.js'
import {
  healthy,
  unhealthy,
  type ProbeDone,
  type ProbeResult,
  type ProbeTarget,
  type RunningProbe,
  type StartProbe,
} from './probe.js'
import { tlsContext } from './tls-context.js'

/** As the kubelet's HTTP probes: everything that is neither an error nor informational. */
export const DEFAULT_STATUS: readonly StatusRange[] = [{ from: 200, to: 399 }]
export const USER_AGENT = 'kube-sluice-probe'

export const startHttpProbe: StartProbe = (target, done) => start(target, done)
export const startHttpsProbe: StartProbe = (target, done) => start(target, done)

/** The server name for TLS: a name without a port, never an address. */
export function serverNameOf({ host }: Pick<HealthCheck, 'host'>): string | undefined {
  const name = host?.replace(/:\d+$/, '')
  return name === undefined || isIP(name) !== 0 ? undefined : name
}

function start(target: ProbeTarget, done: ProbeDone): RunningProbe {
  const { check } = target
  const isTls = check.type === 'https'
  let isOver = false
  let wants = 'connection'
  const end = (result: ProbeResult): void => {
    if (isOver) return
    isOver = true
    request.destroy()
    done(result)
  }
  const options = optionsFor(target)
  const serverName = serverNameOf(check)
  const request = isTls
    ? requestHttps({
        ...options,
        ...{ rejectUnauthorized: false, secureContext: tlsContext() },
        ...(serverName === undefined ? {} : { servername: serverName }),
      })
    : requestHttp(options)
  request.once('socket', (socket) => {
    socket.once('connect', () => {
      wants = isTls ? 'TLS handshake' : 'HTTP answer'
    })
    socket.once('secureConnect', () => {
      wants = 'HTTP answer'
    })
  })
  request.on('error', (error: Error & { code?: string }) => {
    end(unhealthy(reasonOf(error)))
  })
  request.once('response', (response) => {
    wants = 'end of the HTTP answer'
    readResponse(response, check, end)
  })
  request.once('upgrade', (response) => {
    end(statusResult(response.statusCode, check) ?? healthy('HTTP 101'))
  })
  request.end()
  return {
    cancel: () => {
      isOver = true
      request.destroy()
      return wants
    },
  }
}

function optionsFor({ ip, port, check }: ProbeTarget): RequestOptions {
  const isDefaultPort = port === (check.type === 'https' ? 443 : 80)
  const address = formatAddress(ip, port)
  const headers: Record<string, string> = {
    Host: check.host ?? (isDefaultPort ? address.replace(/:\d+$/, '') : address),
    'User-Agent': USER_AGENT,
    Accept: '*/*',
    Connection: 'close',
  }
  for (const [name, value] of check.headers ?? []) headers[name] = value
  return {
    host: ip,
    port,
    method: check.method ?? 'GET',
    path: check.path ?? '/',
    headers,
    agent: false,
  }
}

/** The request as it goes over the wire, of a check without TLS. */
export function requestHead(target: ProbeTarget): Buffer {
  const { method = '', path = '', headers = {} } = optionsFor(target)
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${String(value)}\r\n`)
  return Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1')
}

function readResponse(
  response: IncomingMessage,
  check: HealthCheck,
  end: (result: ProbeResult) => void,
): void {
  const bad = statusResult(response.statusCode, check)
  if (bad !== undefined) {
    end(bad)
    return
  }
  const good = goodResult(response, check)
  const { expectBytes } = check
  if (expectBytes === undefined) {
    end(good)
    return
  }
  const pieces: Buffer[] = []
  let bytes = 0
  const isThere = (): boolean => Buffer.concat(pieces).includes(expectBytes)
  response.on('data', (piece: Buffer) => {
    pieces.push(piece)
    bytes += piece.length
    if (isThere()) end(good)
    else if (bytes > MAX_ANSWER_BYTES) {
      end(unhealthy(`the expected text is not in the first ${MAX_ANSWER_BYTES} bytes of the body`))
    }
  })
  response.once('end', () => {
    end(unhealthy('the expected text is not in the body'))
  })
  response.once('error', (error: Error & { code?: string }) => {
    end(unhealthy(errnoText(error)))
  })
}

/** A failure when the status code is not one of those expected. */
export function statusResult(
  status: number | undefined,
  { expectStatus }: Pick<HealthCheck, 'expectStatus'>,
): ProbeResult | undefined {
  const ranges = expectStatus ?? DEFAULT_STATUS
  if (status !== undefined && ranges.some(({ from, to }) => status >= from && status <= to)) {
    return undefined
  }
  return unhealthy(`HTTP ${status ?? 'without a status'}`)
}

function goodResult(response: IncomingMessage, check: HealthCheck): ProbeResult {
  const result = healthy(`HTTP ${response.statusCode ?? 0}`)
  const { socket } = response
  const warning = socket instanceof TLSSocket ? expiryWarning(socket, check) : undefined
  return warning === undefined ? result : { ...result, warning }
}

function reasonOf(error: Error & { code?: string }): string {
  return error.code?.startsWith('HPE_') === true
    ? `its answer is not HTTP (${error.message})`
    : errnoText(error)
}
