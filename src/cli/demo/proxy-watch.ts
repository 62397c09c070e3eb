/**
 * Looks at the proxy from inside the node's namespace, where its health and status are served on
 * the loopback address: says when it is healthy, then how it does twice a second. Ends when the
 * demo does (IPC closes).
 */
import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ProxyStatus } from '../../observe/status.js'
import type { ProxyNews } from './messages.js'
import { HEALTHZ, METRICS } from './topology.js'

const HEALTH_INTERVAL_MS = 50
const STATUS_INTERVAL_MS = 500
const REQUEST_TIMEOUT_MS = 1_000
const BODY_LIMIT_BYTES = 1 << 20

interface Page {
  readonly status: number
  readonly body: string
}

process.on('disconnect', () => {
  process.kill(process.pid, 'SIGKILL')
})
process.on('message', () => {
  void watch()
})

async function watch(): Promise<never> {
  while ((await get(`http://${HEALTHZ}/healthz`))?.status !== 200) await sleep(HEALTH_INTERVAL_MS)
  tell({ type: 'healthy' })
  for (;;) {
    const page = await get(`http://${METRICS}/status`)
    if (page?.status === 200) tellStatus(page.body)
    await sleep(STATUS_INTERVAL_MS)
  }
}

function tellStatus(body: string): void {
  try {
    const status = JSON.parse(body) as ProxyStatus
    const { mode, capture = 'none', totals } = status
    tell({ type: 'status', mode, capture, retries: totals.retries })
  } catch {
    // Half an answer of a proxy that is ending: the next one is asked for soon.
  }
}

/** undefined: no answer. */
function get(url: string): Promise<Page | undefined> {
  return new Promise((resolve) => {
    const request = http.get(url, { timeout: REQUEST_TIMEOUT_MS }, (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        body += chunk
        if (body.length > BODY_LIMIT_BYTES) response.destroy()
      })
      response.on('close', () => {
        resolve({ status: response.statusCode ?? 0, body })
      })
      response.on('error', () => undefined)
    })
    request.on('timeout', () => request.destroy())
    request.on('error', () => {
      resolve(undefined)
    })
  })
}

function tell(news: ProxyNews): void {
  process.send?.(news)
}
