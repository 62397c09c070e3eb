/**
 * Running the tools that program the kernel (ip, iptables, ipset, nft, conntrack): text in, text out.
 *
 * An exit status is a value, for the caller to judge. What is thrown (ERR_TOOL) is a tool that is
 * missing, hangs or floods, and, from runChecked, a refusal.
 * Bounds: commandTimeoutMs() a run, MAX_OUTPUT_BYTES of output; of output that is taken line by line,
 * SILENCE_MS without a line.
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

import { messageOf, SluiceError } from '../lib/errors.js'

/** What takes longer than this hangs, */
const COMMAND_TIMEOUT_MS = 30_000
/** unless it has much to read: 32 MB of iptables rules (10,000 Services) take 10 s, on a busy node 60 s. */
const TIMEOUT_MS_PER_MB = 5_000
export const MAX_OUTPUT_BYTES = 64 * 1024 * 1024
/** iptables-save of a large table reads all of it before it writes. */
const SILENCE_MS = 120_000
const MAX_STDERR = 65_536

export interface CommandResult {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/**
 * Runs one tool with `input` on its standard input. Callers take it as a parameter: a test gives
 * one that runs in another network namespace.
 * @throws SluiceError ERR_TOOL when the tool is missing, times out or writes too much
 */
export type RunCommand = (
  tool: string,
  args: readonly string[],
  input?: string,
  /** Takes the output line by line: `stdout` may stay empty then, and has no bound. */
  onLine?: (line: string) => void,
) => Promise<CommandResult>

/** Debian packages, for the message when a tool is missing. */
const PACKAGES: readonly (readonly [RegExp, string])[] = [
  [/^ip$/, 'iproute2'],
  [/^ip6?tables/, 'iptables'],
  [/^nft$/, 'nftables'],
  [/^unshare$/, 'util-linux'],
]

/** What to type when a tool is missing. */
export function installCommand(tool: string): string {
  const packageName = PACKAGES.find(([pattern]) => pattern.test(tool))?.[1] ?? tool
  return `apt-get install -y ${packageName}`
}

/**
 * A RunCommand whose tools are started through `prefix`, e.g. `ip netns exec NAME`; without one
 * they run in this process's namespaces.
 */
export function commandRunner(prefix: readonly string[] = []): RunCommand {
  return (tool, args, input, onLine) => {
    const [command = tool, ...rest] = [...prefix, tool, ...args]
    return onLine === undefined ? run(command, rest, input) : runLines(command, rest, onLine)
  }
}

/** Runs a tool that must succeed; returns its standard output. Throws SluiceError ERR_TOOL. */
export async function runChecked(
  run: RunCommand,
  tool: string,
  args: readonly string[],
  input?: string,
): Promise<string> {
  const result = await run(tool, args, input)
  if (result.status !== 0) throw commandFailure(tool, args, result)
  return result.stdout
}

/** The same, line by line, however much it is. Throws SluiceError ERR_TOOL. */
export async function eachLine(
  run: RunCommand,
  tool: string,
  args: readonly string[],
  onLine: (line: string) => void,
): Promise<void> {
  const result = await run(tool, args, undefined, onLine)
  if (result.status !== 0) throw commandFailure(tool, args, result)
  // Of a runner that knows no lines, as one that answers from memory.
  if (result.stdout !== '') for (const line of result.stdout.split('\n')) onLine(line)
}

/** The error for a run that ended with a status other than 0. */
export function commandFailure(
  tool: string,
  args: readonly string[],
  { status, stderr }: CommandResult,
): SluiceError {
  const command = [tool, ...args].join(' ')
  const said = firstLine(stderr) ?? 'it said nothing'
  return new SluiceError('ERR_TOOL', `${command}: exit ${status}: ${said}`, {
    context: { command, status, stderr: stderr.slice(0, 4096) },
  })
}

/** Whether an error means that the tool is not there. */
export function isMissingTool(error: unknown): boolean {
  return error instanceof SluiceError && error.context['isMissing'] === true
}

/** Whether an error means that a tool wrote more than MAX_OUTPUT_BYTES. */
export function isFlood(error: unknown): boolean {
  return error instanceof SluiceError && error.context['isFlood'] === true
}

/** The first line of a tool's text that says something; iptables' hints (`# Warning:`) do not. */
export function firstLine(text: string): string | undefined {
  const lines = text.split('\n').map((line) => line.trim())
  return lines.find((line) => line !== '' && !line.startsWith('#'))
}

/** How long a tool with so many characters of input may take. */
export function commandTimeoutMs(inputLength: number): number {
  return COMMAND_TIMEOUT_MS + Math.round((inputLength / 1e6) * TIMEOUT_MS_PER_MB)
}

function run(
  command: string,
  args: readonly string[],
  input: string | undefined,
): Promise<CommandResult> {
  const timeoutMs = commandTimeoutMs(input?.length ?? 0)
  const options = {
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
    maxBuffer: MAX_OUTPUT_BYTES,
    env: toolEnvironment(),
  } as const
  return new Promise((resolve, reject) => {
    const child = execFile(command, args, options, (error, stdout, stderr) => {
      if (error === null) resolve({ status: 0, stdout, stderr })
      else if (typeof error.code === 'number') resolve({ status: error.code, stdout, stderr })
      else reject(startFailure(command, args, timeoutMs, error))
    })
    // EPIPE when the tool ended before it read everything; its exit status says why.
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(input)
  })
}

async function runLines(
  command: string,
  args: readonly string[],
  onLine: (line: string) => void,
): Promise<CommandResult> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: toolEnvironment() })
  let stderr = ''
  child.stderr.on('data', (chunk: Buffer) => {
    if (stderr.length < MAX_STDERR) stderr += chunk.toString()
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), SILENCE_MS)
  createInterface({ input: child.stdout }).on('line', (line) => {
    timer.refresh()
    onLine(line)
  })
  try {
    const [status] = (await once(child, 'close')) as [number | null]
    if (status === null) throw Object.assign(new Error('killed'), { killed: true })
    return { status, stdout: '', stderr }
  } catch (error) {
    throw startFailure(command, args, SILENCE_MS, error as Error)
  } finally {
    clearTimeout(timer)
  }
}

/** Messages are parsed in places; daemons are started without the folders of root's tools. */
function toolEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, LC_ALL: 'C', PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` }
}

function startFailure(
  command: string,
  args: readonly string[],
  timeoutMs: number,
  error: Error & { code?: unknown; killed?: boolean },
): SluiceError {
  const line = [command, ...args].join(' ')
  const context = { command: line }
  if (error.code === 'ENOENT') {
    const text = `${command} is not installed; type: ${installCommand(command)}`
    return new SluiceError('ERR_TOOL', text, {
      cause: error,
      context: { ...context, isMissing: true },
    })
  }
  const isFlood = error.code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER'
  const reason = isFlood
    ? `more than ${MAX_OUTPUT_BYTES} bytes of output`
    : error.killed === true
      ? `not done after ${Math.round(timeoutMs / 1000)} s`
      : messageOf(error)
  return new SluiceError('ERR_TOOL', `${line}: ${reason}`, {
    cause: error,
    context: { ...context, isFlood },
  })
}
