/** smtp: the greeting 220, EHLO, QUIT (RFC 5321, 3.1 and 4.1.1.10): nobody is left to wonder where we went. */
import { hostname } from 'node:os'
import { startDialogue, type Talk } from './dialogue.js'
import { healthy, unhealthy, type ProbeResult, type StartProbe } from './probe.js'
import { excerpt } from './tcp.js'

export const startSmtpProbe: StartProbe = (target, done) => {
  const dialogue = new SmtpDialogue(target.check.host ?? hostname())
  return startDialogue(target, { wants: 'SMTP reply', read: (talk) => dialogue.read(talk) }, done)
}

class SmtpDialogue {
  readonly #name: string
  #offset = 0
  #hasGreeting = false

  constructor(name: string) {
    this.#name = name
  }

  read(talk: Talk): ProbeResult | undefined {
    for (;;) {
      const end = talk.received.indexOf('\r\n', this.#offset)
      if (end < 0) return undefined
      const line = talk.received.toString('latin1', this.#offset, end)
      this.#offset = end + 2
      if (!/^\d{3}[- ]?/.test(line)) {
        return unhealthy(`its reply is not SMTP: ${excerpt(Buffer.from(line))}`)
      }
      // All lines of a reply but the last have a hyphen.
      if (line[3] === '-') continue
      const result = this.#reply(line, talk)
      if (result !== undefined) return result
    }
  }

  #reply(line: string, talk: Talk): ProbeResult | undefined {
    if (!line.startsWith('2')) return unhealthy(line.slice(0, 200))
    if (!this.#hasGreeting) {
      this.#hasGreeting = true
      talk.write(`EHLO ${this.#name}\r\n`)
      return undefined
    }
    talk.write('QUIT\r\n')
    return healthy(line.slice(0, 200))
  }
}
