/**
 * mysql, MariaDB: the greeting, then a login without a password (protocol 10, MySQL Internals,
 * HandshakeResponse41). It is refused, and that is health: a connection that ends before the login
 * would count as an error of this node's, and max_connect_errors of them have a server block the node.
 */
import { startDialogue, type Talk } from './dialogue.js'
import { healthy, unhealthy, type ProbeResult, type StartProbe } from './probe.js'
import { excerpt } from './tcp.js'

/** Errors about who we are: access denied, host not allowed, authentication methods. */
const ABOUT_US: ReadonlySet<number> = new Set([1044, 1045, 1130, 1251, 1698, 2059, 3118])
/** MariaDB puts it before its own version, so that old replicas do not take 10 for 1. */
const MARIADB_PREFIX = /^5\.5\.5-/
const HEADER_BYTES = 4
const MAX_PACKET_BYTES = 4096
const CLIENT_PROTOCOL_41 = 0x200
const CLIENT_SECURE_CONNECTION = 0x8000
const CLIENT_PLUGIN_AUTH = 0x80000
const UTF8 = 33
const COM_QUIT = Buffer.of(1, 0, 0, 0, 1)

export const startMysqlProbe: StartProbe = (target, done) => {
  const login = new Login()
  return startDialogue(target, { wants: 'MySQL packet', read: (talk) => login.read(talk) }, done)
}

class Login {
  /** Bytes of packets that were dealt with. */
  #offset = 0
  #hasGreeting = false
  #version = ''

  read(talk: Talk): ProbeResult | undefined {
    for (;;) {
      const rest = talk.received.subarray(this.#offset)
      if (rest.length < HEADER_BYTES) return undefined
      const length = rest.readUIntLE(0, 3)
      if (length === 0 || length > MAX_PACKET_BYTES) return notMysql(talk.received)
      if (rest.length < HEADER_BYTES + length) return undefined
      this.#offset += HEADER_BYTES + length
      const sequence = rest[3] ?? 0
      const packet = rest.subarray(HEADER_BYTES, HEADER_BYTES + length)
      const result = this.#packet(packet, sequence, talk)
      if (result !== undefined) return result
    }
  }

  #packet(packet: Buffer, sequence: number, talk: Talk): ProbeResult | undefined {
    if (packet[0] === 0xff) return this.#error(packet)
    if (!this.#hasGreeting) {
      const end = packet.indexOf(0)
      if (packet[0] !== 10 || end < 0) return notMysql(talk.received)
      this.#hasGreeting = true
      this.#version = packet.toString('latin1', 1, Math.min(end, 60)).replace(MARIADB_PREFIX, '')
      talk.write(packetOf(handshakeResponse(), sequence + 1))
      return undefined
    }
    if (packet[0] === 0) {
      talk.write(COM_QUIT)
      return healthy(`${this.#version}, logged in`)
    }
    // Another way to authenticate is proposed, or more is asked: we have nothing to say.
    talk.write(packetOf(Buffer.of(0), sequence + 1))
    return undefined
  }

  #error(packet: Buffer): ProbeResult {
    const code = packet.length >= 3 ? packet.readUInt16LE(1) : 0
    const text = packet.toString('utf8', 3).replace(/^#...../, '')
    const reason = `${code} ${text}`.slice(0, 200)
    return ABOUT_US.has(code) ? healthy(`${this.#version} ${reason}`.trim()) : unhealthy(reason)
  }
}

function handshakeResponse(): Buffer {
  const head = Buffer.alloc(32)
  head.writeUInt32LE(CLIENT_PROTOCOL_41 | CLIENT_SECURE_CONNECTION | CLIENT_PLUGIN_AUTH, 0)
  head.writeUInt32LE(MAX_PACKET_BYTES, 4)
  head[8] = UTF8
  // User name, no authentication data, the name of a method.
  const tail = Buffer.from('kube-sluice-probe\0\0mysql_native_password\0', 'latin1')
  return Buffer.concat([head, tail])
}

function packetOf(body: Buffer, sequence: number): Buffer {
  const header = Buffer.alloc(HEADER_BYTES)
  header.writeUIntLE(body.length, 0, 3)
  header[3] = sequence & 0xff
  return Buffer.concat([header, body])
}

function notMysql(received: Buffer): ProbeResult {
  return unhealthy(`its greeting is not MySQL: ${excerpt(received)}`)
}
