/**
 * agent: HAProxy's agent-check (doc/configuration.txt, "agent-check"): one line of words that the
 * endpoint says of itself.
 *
 *   75%                       share of its weight              weight:N      its weight, 0..256
 *   ready                     undoes drain and maint           drain         weight 0
 *   maint down fail stopped   down at once                     up            up at once
 *   #text                     what people are told             maxconn:N     ignored: nothing is queued here
 */
import { startDialogue, type Talk } from './dialogue.js'
import { healthy, unhealthy, type AgentAnswer, type ProbeResult, type StartProbe } from './probe.js'
import { excerpt } from './tcp.js'

const MAX_WEIGHT = 256

export const startAgentProbe: StartProbe = (target, done) => {
  const { send } = target.check
  return startDialogue(
    target,
    { ...(send === undefined ? {} : { send }), wants: "agent's line", read: readLine },
    done,
  )
}

function readLine({ received, isEnd }: Talk): ProbeResult | undefined {
  const end = received.indexOf('\n')
  if (end < 0 && !(isEnd && received.length > 0)) return undefined
  return readAgentLine(received.toString('latin1', 0, end < 0 ? received.length : end))
}

/** What a line says; words that nobody knows make it a failure, so that a wrong port is noticed. */
export function readAgentLine(line: string): ProbeResult {
  const [words = '', comment = ''] = line.replace('\r', '').split('#', 2)
  const agent: { -readonly [K in keyof AgentAnswer]: AgentAnswer[K] } = {}
  for (const word of words.split(/[\s,]+/)) {
    if (word === '') continue
    const [name = '', value] = word.toLowerCase().split(':', 2)
    const number = Number(value)
    if (/^\d{1,5}%$/.test(word)) agent.weightPercent = parseInt(word, 10)
    else if (name === 'weight' && /^\d{1,3}$/.test(value ?? '') && number <= MAX_WEIGHT) {
      agent.weight = number
    } else if (name === 'drain') agent.weight = 0
    else if (name === 'ready' || name === 'up') agent.isUp ??= true
    else if (['maint', 'down', 'fail', 'failed', 'stopped'].includes(name)) agent.isUp = false
    else if (name !== 'maxconn')
      return unhealthy(`not an agent's word: ${excerpt(Buffer.from(word))}`)
  }
  const reason = `agent says ${(comment === '' ? words : `${words}#${comment}`).trim().slice(0, 200)}`
  return { ...(agent.isUp === false ? unhealthy(reason) : healthy(reason)), agent }
}
