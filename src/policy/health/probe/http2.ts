/**
 * http2: one request over HTTP/2 without TLS (h2c with prior knowledge, as `kubernetes.io/h2c` says),
 * its status, and the body where something is expected in it.
 */
import { connect, constants, type ClientHttp2Session, type OutgoingHttpHeaders } from 'node:http2'
import { formatAddress } from '../../../lib/ip-address.js'
import { MAX_ANSWER_BYTES } from './dialogue.js'
import { errnoText } from './errno-text.js'
import { statusResult, USER_AGENT } from './http.js'
import {
  healthy,
  unhealthy,
  type ProbeDone,
  type ProbeResult,
  type ProbeTarget,
  type RunningProbe,
  type StartProbe,
} from './probe.js'

export interface Http2Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly trailers: Readonly<Record<string, unknown>>
  readonly body: Buffer
  readonly isEnd: boolean
}

export interface Http2Request {
  readonly headers: OutgoingHttpHeaders
  readonly body?: Uint8Array
  /** Called with all that has come, whenever more has; a result ends the probe. */
  readonly read: (answer: Http2Answer) => ProbeResult | undefined
}

export const startHttp2Probe: StartProbe = (target, done) => {
  const { check } = target
  const headers: Record<string, string> = {
    [constants.HTTP2_HEADER_METHOD]: check.method ?? 'GET',
    [constants.HTTP2_HEADER_PATH]: check.path ?? '/',
    'user-agent': USER_AGENT,
  }
  for (const [name, value] of check.headers ?? []) headers[name.toLowerCase()] = value
  return startHttp2(target, { headers, read: (answer) => readAnswer(answer, target) }, done)
}

function readAnswer(answer: Http2Answer, { check }: ProbeTarget): ProbeResult | undefined {
  const bad = statusResult(answer.status, check)
  if (bad !== undefined) return bad
  const good = healthy(`HTTP ${answer.status}`)
  const { expectBytes } = check
  if (expectBytes === undefined || answer.body.includes(expectBytes)) return good
  return answer.isEnd ? unhealthy('the expected text is not in the body') : undefined
}

/** One request of any kind: gRPC is made of them too. */
export function startHttp2(
  { ip, port, check }: ProbeTarget,
  request: Http2Request,
  done: ProbeDone,
): RunningProbe {
  const address = formatAddress(ip, port)
  const session = connect(`http://${address}`)
  let isOver = false
  let wants = 'connection'
  const end = (result: ProbeResult): void => {
    if (isOver) return
    isOver = true
    session.destroy()
    done(result)
  }
  session.on('error', (error: Error & { code?: string }) => {
    end(unhealthy(reasonOf(error)))
  })
  session.once('close', () => {
    end(unhealthy('it closed the connection before an answer came'))
  })
  session.once('connect', () => {
    wants = 'HTTP/2 answer'
  })
  const authority = check.host ?? address
  send(session, { ...request, headers: { ':authority': authority, ...request.headers } }, end)
  return {
    cancel: () => {
      isOver = true
      session.destroy()
      return wants
    },
  }
}

function send(
  session: ClientHttp2Session,
  { headers, body, read }: Http2Request,
  end: (result: ProbeResult) => void,
): void {
  const stream = session.request(headers)
  let received: Buffer = Buffer.alloc(0)
  let first: Readonly<Record<string, unknown>> = {}
  let trailers: Readonly<Record<string, unknown>> = {}
  const look = (isEnd: boolean): void => {
    const status = Number(first[constants.HTTP2_HEADER_STATUS])
    const result = read({ status, headers: first, trailers, body: received, isEnd })
    if (result !== undefined) end(result)
  }
  stream.on('response', (answered) => {
    first = answered
    look(false)
  })
  stream.on('trailers', (given) => {
    trailers = given as Readonly<Record<string, unknown>>
  })
  stream.on('data', (piece: Buffer) => {
    received = Buffer.concat([received, piece])
    look(false)
    if (received.length > MAX_ANSWER_BYTES) {
      end(unhealthy(`more than ${MAX_ANSWER_BYTES} bytes without the expected text`))
    }
  })
  stream.once('end', () => {
    look(true)
    end(unhealthy('its answer is not the expected one'))
  })
  stream.on('error', (error: Error & { code?: string }) => {
    end(unhealthy(reasonOf(error)))
  })
  if (body === undefined) stream.end()
  else stream.end(body)
}

function reasonOf(error: Error & { code?: string }): string {
  if (error.cause instanceof Error) return errnoText(error.cause)
  return error.code?.startsWith('ERR_HTTP2') === true
    ? `its answer is not HTTP/2 (${error.message})`
    : errnoText(error)
}
