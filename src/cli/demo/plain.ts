/** The demo as plain lines, for pipes and logs: one a second, and one for each event. Pure. */
import { type DemoEvent, formatAt, formatMs, type Frame, shareOf } from './frame.js'

/** `   3.0 s  echo 33/33/34%  http 50/0/50%  dns ...  requests 1234  failed 0  p99 2.1 ms` */
export function renderPlainLine(frame: Frame): string {
  const services = frame.services.map((service) => {
    const shares = service.pods.map((pod) =>
      (100 * shareOf(pod, service, ({ rate }) => rate)).toFixed(0),
    )
    return `${service.name} ${shares.join('/')}%`
  })
  const { totals } = frame
  const parts = [
    ...services,
    `requests ${totals.requests}`,
    `failed ${totals.failed}`,
    `p99 ${formatMs(totals.p99Ms)}`,
    `retried ${frame.retries}`,
  ]
  return `${formatAt(frame.elapsedMs)}  ${parts.join('  ')}`
}

/** `   5.0 s  == SIGKILL ... ==`: stands out between the numbers. */
export function renderEventLine(event: DemoEvent): string {
  return `${formatAt(event.atMs)}  == ${event.text}`
}
