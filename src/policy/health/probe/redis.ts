/**
 * redis: PING (RESP, redis.io/docs/reference/protocol-spec). A server that wants a password first is
 * healthy: it answers. One that is loading its data, or has lost its master, says so.
 */
import { startDialogue, type Talk } from './dialogue.js'
import { healthy, unhealthy, type ProbeResult, type StartProbe } from './probe.js'
import { excerpt } from './tcp.js'

const PING = '*1\r\n$4\r\nPING\r\n'
/** Errors of a server that is well and does not know us. */
const WELL = /^-(?:NOAUTH|NOPERM|WRONGPASS)/

export const startRedisProbe: StartProbe = (target, done) =>
  startDialogue(target, { send: PING, wants: 'answer to PING', read: readRedis }, done)

function readRedis({ received }: Talk): ProbeResult | undefined {
  if (received[0] !== 0x2b && received[0] !== 0x2d && received.length > 0) {
    return unhealthy(`its answer is not Redis: ${excerpt(received)}`)
  }
  const end = received.indexOf('\r\n')
  if (end < 0) return undefined
  const line = received.toString('latin1', 0, end)
  if (line === '+PONG') return healthy('PONG')
  return WELL.test(line) ? healthy(line.slice(1)) : unhealthy(line.slice(1, 200))
}
