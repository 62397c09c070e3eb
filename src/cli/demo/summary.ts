/** The end of the demo in words: what was asked of the proxy, what came of it, what to try next. Pure. */
import { formatAt, formatMs, type Frame, shareOf } from './frame.js'
import type { RequestFailure } from './messages.js'

/** Failures printed in full. */
const MAX_FAILURES = 5

export interface SummaryOptions {
  readonly frame: Frame
  readonly failures: readonly RequestFailure[]
  /** Ended early by a signal. */
  readonly isInterrupted: boolean
}

/** Lines of at most 80 columns (a failure may be longer). */
export function renderSummary(options: SummaryOptions): readonly string[] {
  const { frame } = options
  return [
    '',
    headline(options),
    '',
    'Who answered',
    ...frame.services.flatMap((service) =>
      service.pods.map((pod) => {
        const percent = (100 * shareOf(pod, service, ({ served }) => served)).toFixed(0)
        const count = `${pod.served} requests`.padStart(15)
        const moved = pod.hasMoved ? '  (came back with this address)' : ''
        return `  ${pod.name.padEnd(8)}${pod.address.padEnd(18)}${count}${`${percent}%`.padStart(5)}${moved}`
      }),
    ),
    '',
    'What happened',
    ...frame.events.map(({ atMs, text }) => `  ${formatAt(atMs)}  ${text}`),
    '',
    ...latencyLines(frame),
    ...failureLines(options.failures),
    ...nextSteps(),
  ]
}

function headline({ frame, isInterrupted }: SummaryOptions): string {
  const { requests, failed } = frame.totals
  const when = isInterrupted ? `, interrupted after ${formatAt(frame.elapsedMs).trim()}` : ''
  const verdict =
    failed === 0 ? 'none failed: no client noticed' : `${failed} FAILED: that should not be`
  return `${requests} requests${when}, ${requests === 0 ? 'too early to tell' : verdict}.`
}

function latencyLines(frame: Frame): readonly string[] {
  const { totals } = frame
  const slowest = formatMs(totals.slowestMs)
  return [
    `Half of the requests took up to ${formatMs(totals.p50Ms)}, 99% up to ${formatMs(totals.p99Ms)}, the slowest ${slowest}.`,
    `The proxy tried ${frame.retries} connects again on another endpoint (1 s each when one is silent).`,
    ...(totals.resent === 0
      ? []
      : [`DNS clients sent ${totals.resent} queries once more after 1 s, as resolvers do.`]),
    ...(totals.lostWithPod === 0
      ? []
      : [
          `${totals.lostWithPod} not counted: cut off in the hands of a pod at the moment of its SIGKILL,`,
          'which no proxy below layer 7 can mend.',
        ]),
    '',
  ]
}

function failureLines(failures: readonly RequestFailure[]): readonly string[] {
  if (failures.length === 0) return []
  return [
    'What failed first',
    ...failures
      .slice(0, MAX_FAILURES)
      .map(({ service, target, message }) => `  ${service} to ${target}: ${message}`),
    '',
  ]
}

function nextSteps(): readonly string[] {
  return [
    'Next',
    '  less deploy/examples/*.yaml                       the Services you just saw',
    '  node dist/cli/main.js run --help                  every option of the proxy',
    '  npm run demo -- --seconds 60                      the same, slower',
  ]
}
