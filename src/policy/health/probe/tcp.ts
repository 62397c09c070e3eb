/**
 * tcp: a connect, and what was set to be sent and expected. A plain connect is closed with a reset,
 * as HAProxy does it: it leaves nothing behind on either side.
 */
import { startDialogue, type Talk } from './dialogue.js'
import { healthy, unhealthy, type ProbeResult, type StartProbe } from './probe.js'

export const startTcpProbe: StartProbe = (target, done) => {
  const { send, expectBytes } = target.check
  if (send === undefined && expectBytes === undefined) {
    return startDialogue(
      target,
      { wants: 'connection', opened: () => healthy('connected'), resets: true },
      done,
    )
  }
  return startDialogue(
    target,
    {
      ...(send === undefined ? {} : { send }),
      wants: expectBytes === undefined ? 'answer' : 'expected answer',
      read: (talk) => readExpected(talk, expectBytes),
    },
    done,
  )
}

/** Healthy as soon as the bytes are in the answer; without any, as soon as there is one. */
export function readExpected(
  { received, isEnd }: Pick<Talk, 'received' | 'isEnd'>,
  expected: Buffer | undefined,
): ProbeResult | undefined {
  if (expected === undefined) return received.length > 0 ? healthy('answered') : undefined
  if (received.includes(expected)) return healthy('the expected answer')
  return isEnd && received.length > 0
    ? unhealthy(`another answer: ${excerpt(received)}`)
    : undefined
}

/** The beginning of what an endpoint sent, for a log line. */
export function excerpt(bytes: Buffer): string {
  const text = JSON.stringify(bytes.subarray(0, 60).toString('latin1'))
  return bytes.length > 60 ? `${text}...` : text
}
