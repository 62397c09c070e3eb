/**
 * `kube-sluice demo`: the whole thing in network namespaces. Real pods, real clients and the real
 * proxy; pods die and come back, and the exit status says whether a client noticed. Needs root and
 * `ip`; nothing outside its own namespaces and one temporary folder is touched, and both are
 * removed at the end, whatever the end is.
 */
import { execFileSync } from 'node:child_process'
import { readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { messageOf, SluiceError } from '../lib/errors.js'
import { isAlive, removeLeftOvers } from '../kernel/netns.js'
import { hasColour } from './paint.js'
import { stderrProgress } from './progress.js'
import { play } from './demo/script.js'
import { Show } from './demo/show.js'
import { type Load, Stage } from './demo/stage.js'
import { renderSummary } from './demo/summary.js'
import { NETNS_PREFIX } from './demo/topology.js'

const DEFAULT_SECONDS = 25
const MIN_SECONDS = 10
const EXIT_FAILED = 1
/** As a shell reports a program that SIGINT ended. */
const EXIT_INTERRUPTED = 130
/** The last requests of the clients may take their whole time-out of 5 s. */
const LAST_REPORT_TIMEOUT_MS = 6_000

export interface DemoOptions {
  /** Redraw a table in place; otherwise plain lines. */
  readonly interactive: boolean
  readonly write: (text: string) => void
  /** Aborted by SIGINT or SIGTERM: ends the demo early, with the summary so far. */
  readonly signal: AbortSignal
  /** Length of the show, at least 10; 25 when undefined. */
  readonly seconds: number | undefined
}

/** Runs the demo. Resolves with the exit status: 0 when no request failed, 1 otherwise, 130 when interrupted. */
export async function demo(options: DemoOptions): Promise<number> {
  const { write, signal } = options
  try {
    assertPossible(options.seconds)
    const swept = await removeLeftOvers(NETNS_PREFIX)
    removeOldFolders()
    if (swept.length > 0) write(`Removed ${swept.length} namespaces of a demo that was killed.\n`)
    write('Making network namespaces: a client and a node ...\n')
    const stage = await Stage.create()
    return await runOn(stage, options)
  } catch (error) {
    if (signal.aborted) return EXIT_INTERRUPTED
    write(`kube-sluice demo: ${messageOf(error)}\n`)
    return EXIT_FAILED
  }
}

async function runOn(stage: Stage, options: DemoOptions): Promise<number> {
  const { write, signal } = options
  const removeAtExit = (): void => {
    stage.closeSync()
  }
  process.once('exit', removeAtExit)
  try {
    return await perform(stage, options)
  } catch (error) {
    // On an interrupt, children may end in any order: what they say then is no news.
    if (!signal.aborted) write(`\nThe end of the log:\n${stage.logTail()}\n\n`)
    throw error
  } finally {
    await stage.close()
    process.off('exit', removeAtExit)
  }
}

async function perform(stage: Stage, options: DemoOptions): Promise<number> {
  const { interactive, write, signal } = options
  const durationMs = (options.seconds ?? DEFAULT_SECONDS) * 1_000
  const show = new Show({
    services: stage.services,
    durationMs,
    isInteractive: interactive,
    hasColour: interactive && hasColour(process.stdout),
    size: () => ({ columns: process.stdout.columns || 80, rows: process.stdout.rows || 24 }),
    write,
  })
  const aborted = abortOf(signal)
  const pods = stage.services.flatMap((service) => service.pods)
  write(`Starting ${pods.length} pods behind ${stage.services.length} Services ...\n`)
  const progress = stderrProgress()
  const started = stage.startPods(progress.step.bind(progress)).finally(() => {
    progress.end()
  })
  await Promise.race([started, aborted])
  if (!stage.hasIpv6) write('This kernel has no IPv6: the echo Service is IPv4 only.\n')
  write('Starting the proxy on the node ...\n')
  const proxyNews = show.proxyNews.bind(show)
  await Promise.race([stage.startProxy(proxyNews), aborted])
  write('Starting the clients: 8 for each Service, a new connection for every request ...\n')

  const loads = stage.services.map((service) => stage.startLoad(service, show.report.bind(show)))
  show.start()
  let isInterrupted = false
  try {
    await Promise.race([play(sceneOf(stage, show), durationMs, signal), stage.proxyEnded()])
    await lastReports(loads)
  } catch (error) {
    if (!signal.aborted) throw error
    isInterrupted = true
  } finally {
    show.stop()
  }
  const frame = show.frame()
  const summary = renderSummary({ frame, failures: show.failures(), isInterrupted })
  write(`${summary.join('\n')}\n`)
  if (isInterrupted) return EXIT_INTERRUPTED
  const isGood = frame.totals.failed === 0 && frame.totals.requests > 0
  return isGood ? 0 : EXIT_FAILED
}

function sceneOf(stage: Stage, show: Show): Parameters<typeof play>[0] {
  return {
    services: stage.services,
    kill: stage.kill.bind(stage),
    takeLinkDown: stage.takeLinkDown.bind(stage),
    bringLinkUp: stage.bringLinkUp.bind(stage),
    bringBack: stage.bringBack.bind(stage),
    event: show.event.bind(show),
    setState: show.setState.bind(show),
    setMoved: show.setMoved.bind(show),
  }
}

/** Stops the clients; resolves when each has sent what it counted last. */
async function lastReports(loads: readonly Load[]): Promise<void> {
  const ends = loads.map((load) => load.waitFor('last report', ({ isLast }) => isLast))
  for (const load of loads) load.tell({ type: 'stop' })
  const late = new Promise<never>((_, reject) => {
    setTimeout(() => {
      reject(new SluiceError('ERR_TIMEOUT', 'the clients did not finish their last requests'))
    }, LAST_REPORT_TIMEOUT_MS).unref()
  })
  await Promise.race([Promise.all(ends), late])
}

/** Rejects when the signal is aborted; never resolves. */
function abortOf(signal: AbortSignal): Promise<never> {
  const aborted = new Promise<never>((_, reject) => {
    const fail = (): void => {
      reject(new Error('interrupted'))
    }
    if (signal.aborted) fail()
    else signal.addEventListener('abort', fail, { once: true })
  })
  aborted.catch(() => undefined)
  return aborted
}

function assertPossible(seconds: number | undefined): void {
  if (seconds !== undefined && !(seconds >= MIN_SECONDS)) {
    throw new SluiceError('ERR_USAGE', `--seconds ${seconds}: use ${MIN_SECONDS} or more`)
  }
  if (process.getuid?.() !== 0) {
    throw new SluiceError(
      'ERR_CAPABILITY',
      'makes network namespaces, which needs root: run it with sudo',
    )
  }
  try {
    execFileSync('ip', ['-V'], { stdio: 'ignore' })
  } catch (error) {
    throw new SluiceError(
      'ERR_TOOL',
      'needs the program `ip`: install it, on Debian with `apt-get install iproute2`',
      { cause: error },
    )
  }
}

/** Temporary folders of demos that were killed. */
function removeOldFolders(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = name.startsWith(`${NETNS_PREFIX}-`) ? Number(name.split('-')[2]) : NaN
    if (!Number.isInteger(pid) || (pid !== process.pid && isAlive(pid))) continue
    rmSync(path.join(tmpdir(), name), { recursive: true, force: true })
  }
}
