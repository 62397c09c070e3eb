/**
 * mqtt: CONNECT with an empty client id and a clean session, as MQTT 3.1.1 (OASIS, 3.1) has it, and
 * DISCONNECT. A broker that wants credentials is healthy.
 */
import { startDialogue, type Talk } from './dialogue.js'
import { healthy, unhealthy, type ProbeResult, type StartProbe } from './probe.js'
import { excerpt } from './tcp.js'

/** Protocol name MQTT, level 4, clean session, keep alive 10 s, client id ''. */
const CONNECT = Buffer.from('100c00044d5154540402000a0000', 'hex')
const DISCONNECT = Buffer.of(0xe0, 0)
const CONNACK = 0x20
/** MQTT 3.1.1, table 3.1. */
const CODES = [
  'accepted',
  'unacceptable protocol version',
  'identifier rejected',
  'server unavailable',
  'bad user name or password',
  'not authorized',
]
const UNAVAILABLE = 3

export const startMqttProbe: StartProbe = (target, done) =>
  startDialogue(target, { send: CONNECT, wants: 'CONNACK', read: readMqtt }, done)

function readMqtt(talk: Talk): ProbeResult | undefined {
  const { received } = talk
  if (received.length > 0 && received[0] !== CONNACK) {
    return unhealthy(`its answer is not MQTT: ${excerpt(received)}`)
  }
  if (received.length < 4) return undefined
  const code = received[3] ?? 0
  if (code === 0) talk.write(DISCONNECT)
  const text = CODES[code] ?? `return code ${code}`
  return code === UNAVAILABLE || CODES[code] === undefined ? unhealthy(text) : healthy(text)
}
