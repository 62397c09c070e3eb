/** perf(1) on every thread of a Node process, with the kernel's part and Node's map of compiled functions. */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { relative } from 'node:path'

const HERTZ = 999
/** What perf-report(1) calls pid is a thread: its id and name. */
const NAMES = { pid: 'thread', dso: 'program or library' }
const SHOWN = 40

export function isRecorderHere() {
  return spawnSync('perf', ['--version'], { stdio: 'ignore' }).status === 0
}

/**
 * Samples process `pid`, which runs with --perf-basic-prof, for `seconds` into `file`.
 * @returns {{ report: () => Promise<string> }} waits for the end; the threads' shares, and the symbols'
 */
export function startRecorder({ pid, file, seconds }) {
  const child = spawn(
    'perf',
    [
      ...['record', '-q', '-F', String(HERTZ), '-g', '-p', String(pid), '-o', file],
      ...['--', 'sleep', String(seconds)],
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  )
  const ended = new Promise((resolve) => child.once('exit', resolve))
  const report = async () => {
    await ended
    const tables = [table(file, 'pid'), table(file, 'dso'), table(file, 'symbol')]
    rmSync(`/tmp/perf-${pid}.map`, { force: true })
    return [...tables, `all of it: perf report -i ${relative(process.cwd(), file)}`].join('\n\n')
  }
  return { report }
}

/** Shares of the samples by one sort key of perf-report(1), largest first. */
function table(file, key) {
  const text = execFileSync(
    'perf',
    [
      'report',
      '-i',
      file,
      '--stdio',
      '--no-children',
      '-g',
      'none',
      '--sort',
      key,
      '--percent-limit',
      '0.3',
    ],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], maxBuffer: 1 << 26 },
  )
  const lines = text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'))
  return [
    `by ${NAMES[key] ?? key}`,
    ...lines.slice(0, SHOWN).map((line) => line.replace(/[\s-]+$/, '')),
  ].join('\n')
}
