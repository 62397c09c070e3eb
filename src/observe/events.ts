/**
 * Events about objects, as `kubectl describe` shows them (events.k8s.io/v1): written to the API server,
 * or without one to the log. Whoever has something to say calls warn() or normal() and goes on; what
 * becomes of it holds up nothing.
 *
 * The same event again within SERIES_MS makes a series of the first: its count is written every
 * SERIES_WRITE_MS at most (client-go tools/events: 6 minutes, and longer between writes).
 * Bounds: per object BURST events, then one in REFILL_MS (client-go's spam filter); MAX_QUEUE events
 * that wait to be written; MAX_KNOWN series. What goes beyond is dropped and counted.
 */
import type { Clock } from '../lib/clock.js'
import { TokenBucket } from '../lib/token-bucket.js'

const SERIES_MS = 6 * 60_000
const SERIES_WRITE_MS = 60_000
const BURST = 25
const REFILL_MS = 5 * 60_000
const MAX_QUEUE = 200
const MAX_KNOWN = 1000
/** The API takes 1024 bytes. */
const MAX_NOTE_BYTES = 1024
const TRIES = 3
const RETRY_MS = 5000

export interface EventSubject {
  readonly kind: 'Service' | 'EndpointSlice' | 'Node'
  /** Not of a Node. */
  readonly namespace?: string
  readonly name: string
  /** `kubectl describe` finds only events that have it. */
  readonly uid?: string
}

export interface EventRecord {
  readonly type: 'Normal' | 'Warning'
  readonly subject: EventSubject
  /** UpperCamelCase, for machines. */
  readonly reason: string
  /** What was being done, UpperCamelCase. */
  readonly action: string
  readonly note: string
  /** Name of the Event object; the same for a whole series. */
  readonly name: string
  readonly firstAt: Date
  readonly lastAt: Date
  /** 1 for the first; more is a series. */
  readonly count: number
  /** The log says the same already. */
  readonly isLogged: boolean
}

/** Writes one record: a new Event, or the series of one that was written. Rejects when it could not. */
export type WriteEvent = (record: EventRecord) => Promise<void>

export interface EventsOptions {
  readonly write: WriteEvent
  readonly clock: Clock
  readonly wallClock: () => Date
  /** Text that no other Event of the cluster has in its name. */
  readonly uniqueText: () => string
}

export interface EventDetails {
  readonly action?: string
  readonly isLogged?: boolean
}

interface Known {
  record: EventRecord
  atMs: number
  writtenAtMs: number
  isQueued: boolean
}

export class Events {
  readonly #options: EventsOptions
  /** By everything that makes two events the same; the one seen longest ago first. */
  readonly #known = new Map<string, Known>()
  readonly #buckets = new Map<string, TokenBucket>()
  #queue: Known[] = []
  #writing: Promise<void> | undefined
  #isClosed = false
  /** Events that a bound or a server that does not take them has cost. */
  dropped = 0
  written = 0

  constructor(options: EventsOptions) {
    this.#options = options
  }

  warn(subject: EventSubject, reason: string, note: string, details: EventDetails = {}): void {
    this.#say('Warning', subject, { reason, note, ...details })
  }

  normal(subject: EventSubject, reason: string, note: string, details: EventDetails = {}): void {
    this.#say('Normal', subject, { reason, note, ...details })
  }

  /** Nothing is taken any more; resolves when what waits is written, or after `withinMs`. Idempotent. */
  async close(withinMs = 1000): Promise<void> {
    this.#isClosed = true
    const { clock } = this.#options
    await Promise.race([
      this.#writing,
      new Promise<void>((resolve) => {
        clock.after(withinMs, resolve)
      }),
    ])
    this.#queue = []
  }

  #say(
    type: EventRecord['type'],
    subject: EventSubject,
    said: EventDetails & { readonly reason: string; readonly note: string },
  ): void {
    if (this.#isClosed) return
    const { reason, action = 'Sync', isLogged = false } = said
    const note = cut(said.note)
    const { clock, wallClock, uniqueText } = this.#options
    const key = JSON.stringify([type, subject, reason, action, note])
    const nowMs = clock.nowMs()
    const now = wallClock()
    const before = this.#known.get(key)
    if (before !== undefined && nowMs - before.atMs < SERIES_MS) {
      this.#repeat(key, before, now)
      return
    }
    if (!this.#mayWrite(subject)) {
      this.dropped++
      return
    }
    const name = `${subject.name}.${uniqueText()}`
    const record = { type, subject, reason, action, note, name, isLogged, count: 1 }
    const known: Known = {
      record: { ...record, firstAt: now, lastAt: now },
      atMs: nowMs,
      writtenAtMs: nowMs,
      isQueued: false,
    }
    this.#remember(key, known)
    this.#enqueue(known)
  }

  #repeat(key: string, known: Known, now: Date): void {
    const nowMs = this.#options.clock.nowMs()
    known.record = { ...known.record, count: known.record.count + 1, lastAt: now }
    known.atMs = nowMs
    this.#remember(key, known)
    if (nowMs - known.writtenAtMs < SERIES_WRITE_MS) return
    known.writtenAtMs = nowMs
    this.#enqueue(known)
  }

  /** One object must not fill the cluster's store with events. */
  #mayWrite({ kind, namespace = '', name }: EventSubject): boolean {
    const key = `${kind} ${namespace}/${name}`
    const bucket =
      this.#buckets.get(key) ?? new TokenBucket(1000 / REFILL_MS, BURST, this.#options.clock)
    this.#buckets.delete(key)
    this.#buckets.set(key, bucket)
    dropOldest(this.#buckets)
    return bucket.tryTake()
  }

  #remember(key: string, known: Known): void {
    this.#known.delete(key)
    this.#known.set(key, known)
    dropOldest(this.#known)
  }

  #enqueue(known: Known): void {
    if (known.isQueued) return
    if (this.#queue.length >= MAX_QUEUE) {
      this.dropped++
      return
    }
    known.isQueued = true
    this.#queue.push(known)
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = undefined
    })
  }

  /** One after the other. */
  async #writeAll(): Promise<void> {
    for (;;) {
      const next = this.#queue.shift()
      if (next === undefined) return
      next.isQueued = false
      if (await this.#tryToWrite(next)) this.written++
      else this.dropped++
    }
  }

  async #tryToWrite(known: Known): Promise<boolean> {
    for (let tries = 1; ; tries++) {
      try {
        await this.#options.write(known.record)
        return true
      } catch {
        // Counted by the caller; a server that is away has been reported already.
        if (tries >= TRIES || this.#isClosed) return false
      }
      await new Promise<void>((resolve) => {
        this.#options.clock.after(RETRY_MS, resolve)
      })
    }
  }
}

const SUBJECT = /^(Service|EndpointSlice|Node) (?:([^/ ]+)\/)?([^/ ]+)$/

/** The object of an ObjectProblem: `Service demo/echo`, `Node node-1`; undefined when it is no object. */
export function eventSubject(object: string, uid?: string): EventSubject | undefined {
  const [, kind, namespace, name] = SUBJECT.exec(object) ?? []
  if (kind === undefined || name === undefined || name.startsWith('(')) return undefined
  return {
    kind: kind as EventSubject['kind'],
    name,
    ...(namespace === undefined ? {} : { namespace }),
    ...(uid === undefined ? {} : { uid }),
  }
}

function dropOldest(map: Map<string, unknown>): void {
  if (map.size <= MAX_KNOWN) return
  const [oldest] = map.keys()
  if (oldest !== undefined) map.delete(oldest)
}

function cut(note: string): string {
  const bytes = Buffer.from(note)
  if (bytes.length <= MAX_NOTE_BYTES) return note
  // A character that is cut in two becomes a replacement character of three bytes.
  return `${bytes.subarray(0, MAX_NOTE_BYTES - 6).toString('utf8')}...`
}
