/**
 * Objects from a manifest file or folder, read again when it changes.
 *
 * A change is noticed by a watch on the folder and, should the kernel miss one, by a look every
 * `pollIntervalMs`. What is broken keeps its last good version: an object with a bad field its own,
 * a file with an unreadable document all its objects that are not in the readable part.
 * Bounds: files of MAX_FILE_BYTES, MAX_WARNINGS warnings a reading.
 */
import { type FSWatcher, watch } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { messageOf, SluiceError } from '../../lib/errors.js'
import type {
  ClusterChange,
  ClusterObject,
  ClusterSource,
  ClusterSourceListener,
} from '../cluster-source.js'
import { parseManifest } from './parse-manifest.js'

const MAX_FILE_BYTES = 64 * 1024 * 1024
const MAX_WARNINGS = 100
/** A file that was cut to nothing is most often being written: its objects stay this long. */
const EMPTY_GRACE_MS = 500

export interface ManifestSourceOptions {
  /** A file, or a folder whose *.yaml, *.yml and *.json are read. */
  readonly path: string
  readonly pollIntervalMs?: number
  /** How long a burst of file events is gathered. */
  readonly settleMs?: number
}

interface ManifestFile {
  /** Modification time, size and inode: the same, then the content is not read again. */
  readonly stamp: string
  readonly objects: ReadonlyMap<string, ClusterObject>
}

export class ManifestSource implements ClusterSource {
  readonly #path: string
  readonly #pollIntervalMs: number
  readonly #settleMs: number
  #files = new Map<string, ManifestFile>()
  #current = new Map<string, ClusterObject>()
  #listener: ClusterSourceListener | undefined
  #watcher: FSWatcher | undefined
  #poll: NodeJS.Timeout | undefined
  #settle: NodeJS.Timeout | undefined
  #scan: Promise<void> = Promise.resolve()
  #isClosed = false
  #lastFailure = ''

  constructor(options: ManifestSourceOptions) {
    this.#path = options.path
    this.#pollIntervalMs = options.pollIntervalMs ?? 2000
    this.#settleMs = options.settleMs ?? 25
  }

  async start(listener: ClusterSourceListener): Promise<void> {
    this.#listener = listener
    const folder = await this.#folder()
    this.#watch(folder)
    const changes = await this.#read()
    listener.onChanges(changes)
    this.#poll = setInterval(() => {
      this.#rescan()
    }, this.#pollIntervalMs)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#poll)
    clearTimeout(this.#settle)
    this.#watcher?.close()
    await this.#scan
    this.#listener = undefined
  }

  async #folder(): Promise<string> {
    try {
      return (await stat(this.#path)).isDirectory() ? this.#path : dirname(this.#path)
    } catch (error) {
      throw new SluiceError(
        'ERR_MANIFEST',
        `manifests ${this.#path}: ${messageOf(error)}; name a file or folder that is there`,
        { cause: error },
      )
    }
  }

  #watch(folder: string): void {
    try {
      this.#watcher = watch(folder, () => {
        clearTimeout(this.#settle)
        this.#settle = setTimeout(() => {
          this.#rescan()
        }, this.#settleMs)
      })
      this.#watcher.on('error', () => {
        this.#watcher?.close() // The poll goes on.
      })
    } catch (error) {
      this.#listener?.onWarning(
        `manifests ${folder} cannot be watched: ${messageOf(error)}; looked at every ${this.#pollIntervalMs} ms`,
        {},
      )
    }
  }

  /** Scans one after the other; a failure keeps what is in force. */
  #rescan(): void {
    this.#scan = this.#scan.then(async () => {
      if (this.#isClosed) return
      try {
        const changes = await this.#read()
        this.#lastFailure = ''
        if (changes.length > 0) this.#listener?.onChanges(changes)
      } catch (error) {
        const message = messageOf(error)
        if (message === this.#lastFailure) return
        this.#lastFailure = message
        this.#listener?.onWarning(
          `manifests ${this.#path}: ${message}; the last good version stays in force`,
          {},
        )
      }
    })
  }

  /** What differs from what was reported last. */
  async #read(): Promise<ClusterChange[]> {
    const warnings: string[] = []
    const files = new Map<string, ManifestFile>()
    for (const file of await this.#list()) {
      const read = await this.#readFile(file, warnings)
      if (read !== undefined) files.set(file, read)
    }
    const merged = new Map<string, ClusterObject>()
    const owners = new Map<string, string>()
    const isNew = [...files].some(([file, { stamp }]) => this.#files.get(file)?.stamp !== stamp)
    for (const [file, { objects }] of files) {
      for (const [id, object] of objects) {
        const owner = owners.get(id)
        if (owner === undefined) {
          owners.set(id, file)
          merged.set(id, object)
        } else if (isNew) {
          warnings.push(`${file}: ${id} is in ${owner} too, which counts; remove one of them`)
        }
      }
    }
    this.#warn(warnings)
    this.#files = files
    const changes = differences(this.#current, merged)
    this.#current = merged
    return changes
  }

  async #list(): Promise<string[]> {
    if (!(await stat(this.#path)).isDirectory()) return [this.#path]
    const names = await readdir(this.#path)
    return names
      .filter((name) => /^[^.].*\.(ya?ml|json)$/.test(name))
      .sort()
      .map((name) => join(this.#path, name))
  }

  async #readFile(file: string, warnings: string[]): Promise<ManifestFile | undefined> {
    const before = this.#files.get(file)
    try {
      const { mtimeMs, size, ino, isFile } = await fileStat(file)
      if (!isFile) return undefined
      const stamp = `${mtimeMs} ${size} ${ino}`
      if (before?.stamp === stamp) return before
      if (size > MAX_FILE_BYTES) {
        warnings.push(`${file}: larger than ${MAX_FILE_BYTES} bytes; split it`)
        return before
      }
      const isFreshlyEmpty = size === 0 && Date.now() - mtimeMs < EMPTY_GRACE_MS
      if (isFreshlyEmpty && before !== undefined) {
        this.#settle = setTimeout(() => {
          this.#rescan()
        }, EMPTY_GRACE_MS)
        return before
      }
      return { stamp, objects: objectsOf(file, await readFile(file, 'utf8'), before, warnings) }
    } catch (error) {
      const isGone = (error as NodeJS.ErrnoException).code === 'ENOENT'
      if (isGone && basename(file) !== basename(this.#path)) return undefined
      throw error
    }
  }

  #warn(warnings: readonly string[]): void {
    for (const message of warnings.slice(0, MAX_WARNINGS)) this.#listener?.onWarning(message, {})
    const more = warnings.length - MAX_WARNINGS
    if (more > 0) this.#listener?.onWarning(`manifests: ${more} more problems`, {})
  }
}

async function fileStat(file: string) {
  const found = await stat(file)
  return { mtimeMs: found.mtimeMs, size: found.size, ino: found.ino, isFile: found.isFile() }
}

function objectsOf(
  file: string,
  text: string,
  before: ManifestFile | undefined,
  warnings: string[],
): ReadonlyMap<string, ClusterObject> {
  const { objects, problems, hasUnreadable } = parseManifest(text)
  for (const problem of problems) {
    warnings.push(`${file}:${problem}; the last good version stays in force`)
  }
  const result = new Map<string, ClusterObject>()
  for (const { kind, key, current } of objects) {
    const id = `${kind} ${key}`
    const used = current ?? before?.objects.get(id)
    if (used !== undefined) result.set(id, used)
  }
  if (hasUnreadable) {
    for (const [id, object] of before?.objects ?? []) if (!result.has(id)) result.set(id, object)
  }
  return result
}

function differences(
  before: ReadonlyMap<string, ClusterObject>,
  after: ReadonlyMap<string, ClusterObject>,
): ClusterChange[] {
  const changes: ClusterChange[] = []
  for (const [id, { kind }] of before) {
    if (!after.has(id)) changes.push({ type: 'delete', key: id.slice(kind.length + 1), kind })
  }
  for (const [id, current] of after) {
    if (before.get(id) === current) continue
    changes.push({ type: 'apply', key: id.slice(current.kind.length + 1), current })
  }
  return changes
}
