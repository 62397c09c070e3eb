/** `kube-sluice status`: asks the running proxy and shows the answer: docs/status.md. */
import { setTimeout as wait } from 'node:timers/promises'
import type { OptionValues } from '../config/options.js'
import type { ProxyStatus } from '../observe/status.js'
import { fetchText } from './fetch-text.js'
import { hasColour } from './paint.js'
import { proxyUrl } from './proxy-url.js'
import { keysOf } from './status/keys.js'
import { Rates } from './status/rates.js'
import { statusText } from './status/table.js'
import { arranged, FIRST_VIEW, type View } from './status/view.js'
import { watchStatus } from './status/watch.js'

const PRINT_MS = 1000

export interface StatusContext {
  readonly write: (text: string) => void
  readonly signal: AbortSignal
}

type StatusOptions = Pick<
  OptionValues,
  'metricsBindAddress' | 'url' | 'output' | 'namespace' | 'watch' | 'sort' | 'filter'
>

/** Prints the status once, or until the signal aborts or `q`. Throws ERR_STATUS_UNREACHABLE. */
export async function status(options: StatusOptions, context: StatusContext): Promise<number> {
  const { namespace, sort, filter = '', output } = options
  const view: View = { ...FIRST_VIEW, namespace, sort, filter }
  const url = proxyUrl(options, '/status')
  const ask = async (): Promise<ProxyStatus> => JSON.parse(await fetchText(url)) as ProxyStatus
  const { stdout } = process
  if (options.watch && output === 'table' && stdout.isTTY) {
    await watchStatus({
      ...{ ...context, ask, view, onKeys, hasColour: hasColour(stdout) },
      size: () => ({ columns: stdout.columns || 80, rows: stdout.rows || 24 }),
    })
    return 0
  }
  return print(options, { ...context, ask, view })
}

/** One after the other. */
async function print(
  { output, watch }: StatusOptions,
  {
    ask,
    view,
    write,
    signal,
  }: StatusContext & { readonly ask: () => Promise<ProxyStatus>; readonly view: View },
): Promise<number> {
  const { stdout } = process
  const fit = {
    width: stdout.isTTY ? stdout.columns || 80 : undefined,
    hasColour: hasColour(stdout),
  }
  const rates = watch ? new Rates() : undefined
  for (;;) {
    const now = await ask()
    rates?.add(now, performance.now())
    const nowMs = Date.now()
    if (output === 'json') {
      write(`${JSON.stringify({ ...now, services: arranged(now, view, rates) })}\n`)
    } else {
      const at = watch ? `\n${new Date(nowMs).toISOString()}\n` : ''
      write(at + statusText(now, { ...fit, view, nowMs, ...(rates && { rates }) }))
    }
    if (!watch) return 0
    await wait(PRINT_MS, undefined, { signal }).catch(() => undefined)
    if (signal.aborted) return 0
  }
}

/** Keys of the terminal, when there is one; without one only a signal ends the watch. */
function onKeys(listener: (key: string) => void): () => void {
  const { stdin } = process
  if (!stdin.isTTY) return () => undefined
  const onData = (data: Buffer): void => {
    for (const key of keysOf(data.toString())) listener(key)
  }
  stdin.setRawMode(true)
  stdin.on('data', onData)
  return () => {
    stdin.off('data', onData)
    stdin.setRawMode(false)
    stdin.pause()
  }
}
