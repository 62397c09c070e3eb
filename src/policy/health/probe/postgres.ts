/**
 * postgres: a StartupMessage, as pg_isready sends it (protocol 3.0, PostgreSQL documentation 55.2). To be
 * asked for a password, or to be told that one may not log in, is health; a server that starts up, shuts
 * down or has no connection to spare says so with an SQLSTATE.
 */
import { startDialogue, type Talk } from './dialogue.js'
import { healthy, unhealthy, type ProbeResult, type StartProbe } from './probe.js'
import { excerpt } from './tcp.js'

const PROTOCOL_3_0 = 196_608
/** Classes of errors about who we are: 28 authorization, 3D the database. */
const ABOUT_US = /^(?:28|3D)/
const TERMINATE = Buffer.of(0x58, 0, 0, 0, 4)

export const startPostgresProbe: StartProbe = (target, done) =>
  startDialogue(
    target,
    {
      send: startupMessage('postgres'),
      wants: 'answer to the start-up message',
      read: readPostgres,
    },
    done,
  )

/** @param user of the database of the same name; need not exist */
export function startupMessage(user: string): Buffer {
  const parameters = `user\0${user}\0database\0${user}\0application_name\0kube-sluice-probe\0\0`
  const message = Buffer.alloc(8 + parameters.length)
  message.writeUInt32BE(message.length, 0)
  message.writeUInt32BE(PROTOCOL_3_0, 4)
  message.write(parameters, 8, 'latin1')
  return message
}

function readPostgres(talk: Talk): ProbeResult | undefined {
  const { received } = talk
  if (received.length < 5) return undefined
  const type = String.fromCharCode(received[0] ?? 0)
  const end = 1 + received.readUInt32BE(1)
  if ((type !== 'R' && type !== 'E' && type !== 'v') || end > 10_000) {
    return unhealthy(`its answer is not PostgreSQL: ${excerpt(received)}`)
  }
  if (received.length < end) return undefined
  if (type === 'E') return errorResult(received.toString('utf8', 5, end))
  const isIn = type === 'R' && end >= 9 && received.readUInt32BE(5) === 0
  if (isIn) talk.write(TERMINATE)
  return healthy(isIn ? 'logged in' : 'asks for a password')
}

/** Fields of an ErrorResponse: a letter and a text each, C the SQLSTATE, M the message. */
function errorResult(body: string): ProbeResult {
  const fields = new Map(body.split('\0').map((field) => [field[0] ?? '', field.slice(1)]))
  const state = fields.get('C') ?? ''
  const text = `${state} ${fields.get('M') ?? ''}`.slice(0, 200)
  return ABOUT_US.test(state) ? healthy(text) : unhealthy(text)
}
