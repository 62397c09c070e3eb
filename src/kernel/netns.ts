/**
 * Network namespaces for the demo and the tests: named ones, routed veth pairs between them, and
 * children that run in them.
 *
 * Owns every namespace and child it made. close() (or closeSync() when the process is going down)
 * ends the children and removes the namespaces; devices and routes go with them. Nothing is ever
 * created in the namespace of the caller. Names are `PREFIX-PID-NAME`, so that removeLeftOvers()
 * can tell what a process that is gone has left.
 * Bounds: every `ip` runs for at most 10 s.
 */
import {
  type ChildProcess,
  execFile,
  execFileSync,
  spawn,
  type SpawnOptions,
} from 'node:child_process'
import { once } from 'node:events'
import { messageOf, SluiceError } from '../lib/errors.js'

const IP_TIMEOUT_MS = 10_000
/** A killed child is reaped within this, or removal goes on without it. */
const REAP_TIMEOUT_MS = 2_000
/** IFNAMSIZ of linux/if.h without the closing zero. */
const DEVICE_NAME_BYTES = 15

/** One end of a veth pair. */
export interface VethEnd {
  /** Full name of a namespace, as add() returned it. */
  readonly netns: string
  readonly device: string
}

export class NetworkNamespaces {
  readonly #prefix: string
  readonly #names: string[] = []
  readonly #children = new Set<ChildProcess>()
  #isClosed = false
  #closing: Promise<void> | undefined

  /** `prefix` is a word of letters and digits and dashes, e.g. `ks-demo`. */
  constructor(prefix: string) {
    this.#prefix = `${prefix}-${process.pid}`
  }

  /** Full names of the namespaces that exist, in order of creation. */
  get names(): readonly string[] {
    return this.#names
  }

  /** Makes a namespace with its loopback device up; returns its full name. Throws SluiceError. */
  async add(name: string): Promise<string> {
    const full = `${this.#prefix}-${name}`
    this.#assertOpen(`ip netns add ${full}`)
    // Registered first: a namespace whose creation fails half-way is removed all the same.
    this.#names.push(full)
    await ip(['netns', 'add', full])
    await ip(['-n', full, 'link', 'set', 'lo', 'up'])
    return full
  }

  /** A veth pair with one end in each namespace, both ends up. Throws SluiceError. */
  async connect(one: VethEnd, other: VethEnd): Promise<void> {
    for (const { device } of [one, other]) {
      if (Buffer.byteLength(device) > DEVICE_NAME_BYTES) {
        throw new SluiceError('ERR_KERNEL', `device name ${device}: longer than 15 bytes`)
      }
    }
    this.#assertOpen('ip link add')
    const end = (veth: VethEnd): string[] => ['name', veth.device, 'netns', veth.netns]
    await ip(['link', 'add', ...end(one), 'type', 'veth', 'peer', ...end(other)])
    await ip(['-n', one.netns, 'link', 'set', one.device, 'up'])
    await ip(['-n', other.netns, 'link', 'set', other.device, 'up'])
  }

  /** Runs lines of `ip -batch` in a namespace, e.g. `route add default via 10.0.0.1`. Throws SluiceError. */
  async configure(netns: string, lines: readonly string[]): Promise<void> {
    this.#assertOpen(`ip -n ${netns}`)
    await ip(['-n', netns, '-batch', '-'], `${lines.join('\n')}\n`)
  }

  /** Writes sysctls (`net.ipv4.ip_forward` to `1`) of a namespace. Throws SluiceError. */
  async sysctl(netns: string, values: Readonly<Record<string, string>>): Promise<void> {
    this.#assertOpen(`sysctl in ${netns}`)
    const script = Object.entries(values)
      .map(([key, value]) => `echo ${value} > /proc/sys/${key.replaceAll('.', '/')}`)
      .join(' && ')
    await ip(['netns', 'exec', netns, 'sh', '-c', script])
  }

  /**
   * Starts a program in a namespace. It gets a process group of its own, so that a Ctrl-C at the
   * terminal reaches only us. `ip netns exec` replaces itself: the child's pid is the program's.
   */
  spawn(
    netns: string,
    command: readonly [string, ...string[]],
    options: SpawnOptions,
  ): ChildProcess {
    this.#assertOpen(`ip netns exec ${netns}`)
    const child = spawn('ip', ['netns', 'exec', netns, ...command], { ...options, detached: true })
    this.#children.add(child)
    const forget = (): void => {
      this.#children.delete(child)
    }
    child.once('exit', forget)
    child.once('error', forget)
    return child
  }

  /** Ends every child and removes every namespace. Idempotent; throws SluiceError if one cannot be removed. */
  close(): Promise<void> {
    this.#isClosed = true
    this.#closing ??= this.#removeAll()
    return this.#closing
  }

  /** The same at once, for an `exit` handler: children are killed and not waited for. Never throws. */
  closeSync(): void {
    this.#isClosed = true
    for (const child of this.#children) child.kill('SIGKILL')
    for (const name of this.#names.splice(0)) {
      try {
        execFileSync('ip', ['netns', 'del', name], { stdio: 'ignore', timeout: IP_TIMEOUT_MS })
      } catch {
        // Already gone, or it never came to be: the process is ending, there is nobody to tell.
      }
    }
  }

  async #removeAll(): Promise<void> {
    await Promise.all([...this.#children].map((child) => endOf(child)))
    // Forgotten only once removed: closeSync() may have to take over half-way.
    for (let name = this.#names.at(-1); name !== undefined; name = this.#names.at(-1)) {
      await removeNamespace(name)
      if (this.#names.at(-1) === name) this.#names.pop()
    }
  }

  #assertOpen(operation: string): void {
    if (this.#isClosed) {
      throw new SluiceError('ERR_KERNEL', `${operation}: the namespaces are being removed`)
    }
  }
}

/**
 * Removes what processes that are gone have left: namespaces `PREFIX-PID-*` whose PID is not alive
 * (or is our own: we have made none yet), with the processes in them. Returns their names.
 */
export async function removeLeftOvers(prefix: string): Promise<readonly string[]> {
  const removed: string[] = []
  for (const name of await listNamespaces(`${prefix}-`)) {
    const pid = Number(/^\d+(?=-)/.exec(name.slice(prefix.length + 1))?.[0])
    if (!Number.isInteger(pid) || (pid !== process.pid && isAlive(pid))) continue
    await removeNamespace(name)
    removed.push(name)
  }
  return removed
}

/** Names of the namespaces that begin with `prefix`, in order. Throws SluiceError. */
export async function listNamespaces(prefix: string): Promise<readonly string[]> {
  const text = await ip(['netns', 'list'])
  return text
    .split('\n')
    .map((line) => line.split(' ', 1)[0] ?? '')
    .filter((name) => name !== '' && name.startsWith(prefix))
    .sort()
}

/** Whether a process with this id exists, whoever's it is (kill(2): EPERM means that it does). */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

async function removeNamespace(name: string): Promise<void> {
  try {
    // Only processes of a namespace that we made: a child's own children, or those of a dead demo.
    const pids = await ip(['netns', 'pids', name])
    for (const pid of pids.split(/\s+/).filter((word) => word !== '')) {
      process.kill(Number(pid), 'SIGKILL')
    }
  } catch {
    // Gone in between.
  }
  try {
    await ip(['netns', 'del', name])
  } catch (error) {
    if ((await listNamespaces(name)).includes(name)) throw error
  }
}

async function endOf(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
  const deadline = AbortSignal.timeout(REAP_TIMEOUT_MS)
  const exit = once(child, 'exit', { signal: deadline })
  child.kill('SIGKILL')
  await exit.catch(() => undefined)
}

/** Runs `ip` and returns its output. Throws SluiceError with what `ip` said. */
function ip(args: readonly string[], input?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile('ip', args, { timeout: IP_TIMEOUT_MS }, (error, stdout, stderr) => {
      if (error === null) {
        resolve(stdout)
        return
      }
      const said = stderr.trim().split('\n').join('; ')
      const text = said === '' ? messageOf(error) : said
      reject(new SluiceError('ERR_TOOL', `ip ${args.join(' ')}: ${text}`, { cause: error }))
    })
    // EPIPE when `ip` ended early; its exit status tells.
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(input)
  })
}
