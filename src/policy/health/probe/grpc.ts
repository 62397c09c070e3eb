/**
 * grpc: grpc.health.v1.Health/Check (GRPC Health Checking Protocol, grpc/proto health.proto), over
 * HTTP/2 without TLS. Only SERVING is healthy.
 *
 * Two messages of one field each do not need a protobuf library:
 *   HealthCheckRequest   1: string service      HealthCheckResponse   1: enum status
 */
import { startHttp2, type Http2Answer } from './http2.js'
import { healthy, unhealthy, type ProbeResult, type StartProbe } from './probe.js'

const STATUSES = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'] as const
/** grpc/statuscodes.md, those that are worth a word. */
const CODES: Readonly<Record<string, string>> = {
  '5': 'NOT_FOUND: the service is not known there',
  '12': 'UNIMPLEMENTED: it has no health service',
  '14': 'UNAVAILABLE',
  '16': 'UNAUTHENTICATED',
}
/** Flag (not compressed) and length before each message. */
const PREFIX_BYTES = 5
const FIELD_1_STRING = 0x0a
const FIELD_1_VARINT = 0x08

export const startGrpcProbe: StartProbe = (target, done) =>
  startHttp2(
    target,
    {
      headers: {
        ':method': 'POST',
        ':path': '/grpc.health.v1.Health/Check',
        'content-type': 'application/grpc',
        te: 'trailers',
      },
      body: healthCheckRequest(target.check.serviceName ?? ''),
      read: readGrpc,
    },
    done,
  )

/** The message with its prefix. Names are shorter than 256 bytes: two bytes of length at most. */
export function healthCheckRequest(service: string): Buffer {
  const name = Buffer.from(service)
  const length =
    name.length < 0x80 ? [name.length] : [(name.length & 0x7f) | 0x80, name.length >> 7]
  const message =
    name.length === 0 ? name : Buffer.concat([Buffer.of(FIELD_1_STRING, ...length), name])
  const prefix = Buffer.alloc(PREFIX_BYTES)
  prefix.writeUInt32BE(message.length, 1)
  return Buffer.concat([prefix, message])
}

function readGrpc(answer: Http2Answer): ProbeResult | undefined {
  if (answer.status !== 200) return unhealthy(`HTTP ${answer.status}`)
  // An error without a message has its status in the headers (trailers-only).
  const code = answer.trailers['grpc-status'] ?? answer.headers['grpc-status']
  if (code !== undefined && code !== '0' && code !== 0) {
    const text = typeof code === 'string' ? code : JSON.stringify(code)
    return unhealthy(`gRPC status ${text}${CODES[text] === undefined ? '' : ` ${CODES[text]}`}`)
  }
  const { body } = answer
  if (body.length < PREFIX_BYTES || body.length < PREFIX_BYTES + body.readUInt32BE(1)) {
    return undefined
  }
  const status = statusOf(body.subarray(PREFIX_BYTES, PREFIX_BYTES + body.readUInt32BE(1)))
  return status === 'SERVING' ? healthy(status) : unhealthy(status)
}

/** No field is the default value, 0. */
function statusOf(message: Buffer): string {
  if (message.length === 0) return STATUSES[0]
  if (message[0] !== FIELD_1_VARINT) return 'an answer that is no HealthCheckResponse'
  return STATUSES[message[1] ?? 0] ?? `status ${message[1] ?? 0}`
}
