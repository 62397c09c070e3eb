/**
 * Clients of one Service, run as a process in the client's namespace: a bounded number of workers,
 * each with one request at a time on a new connection. Counts, and reports five times a second.
 * Ends when the demo does (IPC closes).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../../lib/errors.js'
import { LatencyHistogram } from './latency-histogram.js'
import type { LoadOrder, LoadReport, RequestFailure } from './messages.js'
import { request, RequestError } from './request.js'
import type { Target } from './topology.js'

type StartOrder = Extract<LoadOrder, { type: 'start' }>

const REPORT_INTERVAL_MS = 200
/** Failures told in full for each report. */
const MAX_FAILURES = 8

let tally = emptyTally()
let nonce = 0
let isStopping = false

process.on('message', (order: LoadOrder) => {
  if (order.type === 'stop') isStopping = true
  else void run(order)
})
process.on('disconnect', () => {
  process.kill(process.pid, 'SIGKILL')
})

async function run(order: StartOrder): Promise<void> {
  const timer = setInterval(() => {
    report(order, false)
  }, REPORT_INTERVAL_MS)
  const workers = Array.from({ length: order.workers }, async (_, index) => {
    const target = order.targets[index % order.targets.length]
    if (target !== undefined) await work(order, target)
  })
  await Promise.all(workers)
  clearInterval(timer)
  report(order, true)
}

async function work(order: StartOrder, target: Target): Promise<void> {
  // Workers spread over the pause, so that their requests do not come in bursts.
  await sleep(Math.random() * order.pauseMs)
  while (!isStopping) {
    await requestOnce(order, target)
    await sleep(order.pauseMs)
  }
}

async function requestOnce(order: StartOrder, target: Target): Promise<void> {
  nonce = (nonce + 1) & 0xffff
  const startedAtMs = Date.now()
  const begin = performance.now()
  const options = { target, timeoutMs: order.timeoutMs, nonce, onResend: () => tally.resent++ }
  try {
    const pod = await request(order.service, options)
    tally.histogram.record(performance.now() - begin)
    tally.served.set(pod, (tally.served.get(pod) ?? 0) + 1)
  } catch (error) {
    tally.failed++
    if (tally.failures.length >= MAX_FAILURES) return
    tally.failures.push({
      service: order.service,
      target: `${target.address} port ${target.port}`,
      startedAtMs,
      failedAtMs: Date.now(),
      isReset: error instanceof RequestError && error.isReset,
      message: messageOf(error),
    })
  }
}

function report(order: StartOrder, isLast: boolean): void {
  const message: LoadReport = {
    type: 'report',
    service: order.service,
    served: Object.fromEntries(tally.served),
    failed: tally.failed,
    failures: tally.failures,
    resent: tally.resent,
    latencies: tally.histogram.entries(),
    slowestMs: tally.histogram.slowestMs,
    isLast,
  }
  tally = emptyTally()
  process.send?.(message)
}

function emptyTally() {
  return {
    served: new Map<string, number>(),
    failed: 0,
    failures: new Array<RequestFailure>(),
    resent: 0,
    histogram: new LatencyHistogram(),
  }
}
