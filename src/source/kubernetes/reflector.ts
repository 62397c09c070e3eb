/**
 * List and watch of one resource: brings what the API server has into the KnownObjects and keeps it
 * so, for as long as the process lives. Nothing that the server does ends it.
 *
 *            +-- 410, history gone (jittered) ------------------------------+
 *            v                                                              |
 *   start -> list: WatchList, a stream that begins with all there is  -> watch -> time-out: again
 *            where that is not served: pages, then a watch             ^    |
 *                                                                      +----+ broken: back off, resume
 *
 * A relist follows only when the server no longer knows the last resourceVersion, or when versions
 * run backwards. client-go's rules for resourceVersion: 0 for the first list, which any server may
 * answer from its cache; none (the latest) when what the caches know was not enough.
 * Bounds: one object in memory at a time, of MAX_OBJECT_BYTES; an answer that says nothing for
 * `idleMs` is given up.
 */
import type { Readable } from 'node:stream'
import { Backoff } from '../../lib/backoff.js'
import type { Clock } from '../../lib/clock.js'
import { messageOf, SluiceError } from '../../lib/errors.js'
import { type ApiClient, chunksOf } from './api-client.js'
import { ApiError, errorFromStatus, isHistoryGone } from './api-error.js'
import type { KnownObjects } from './known-objects.js'
import { LineSplitter } from './line-splitter.js'
import { ListSplitter } from './list-splitter.js'
import { isOlder } from './resource-version.js'
import { isRecord, receivedObject, requestPath, type WatchedResource } from './watched-resource.js'

/** etcd takes 1.5 MB; JSON of it may be longer. */
const MAX_OBJECT_BYTES = 16 * 1024 * 1024
/** A watch that ends sooner is a failure: the next one must not follow at once. */
const SHORT_WATCH_MS = 1000
/** Streams that begin with all there is and do not get to its end, before lists are asked for instead. */
const MAX_BROKEN_STREAMS = 2
/** On the last bookmark of the first part of a WatchList stream. */
const INITIAL_EVENTS_END = 'k8s.io/initial-events-end'

export interface ReflectorTiming {
  readonly backoffInitialMs: number
  readonly backoffMaxMs: number
  /** What has gone well for this long starts the back-off anew. */
  readonly backoffResetMs: number
  /** A relist waits for up to this, so that not every node lists at once. */
  readonly relistJitterMs: number
  /** A watch or list that sends nothing for this long is broken; servers send a bookmark every minute. */
  readonly idleMs: number
  /** The same for what stands at the beginning of a stream, where objects follow each other. */
  readonly initialIdleMs: number
  /** Watches end after this to twice this (the server's doing), and are taken up again. */
  readonly watchSeconds: number
  /** Objects a page. */
  readonly pageSize: number
}

/** client-go's, but for the idle time-out, which it has not. */
export const REFLECTOR_TIMING: ReflectorTiming = {
  backoffInitialMs: 800,
  backoffMaxMs: 30_000,
  backoffResetMs: 120_000,
  relistJitterMs: 2_000,
  idleMs: 150_000,
  initialIdleMs: 20_000,
  watchSeconds: 300,
  pageSize: 500,
}

/** What it has done; for metrics and tests. */
export interface ReflectorCounts {
  /** Complete lists, by pages or as the beginning of a stream. */
  lists: number
  watches: number
  events: number
  /** All of them. */
  failures: number
  /** Of these: the server no longer knew the version, or versions ran backwards; a new list follows. */
  expired: number
  /** Of these: the server asked for less (429). */
  throttled: number
}

export interface ReflectorOptions {
  readonly resource: WatchedResource
  readonly client: ApiClient
  readonly known: KnownObjects
  readonly clock: Clock
  /** As Math.random. */
  readonly random: () => number
  readonly timing: ReflectorTiming
  /** A list is complete; every time. */
  readonly onListed: () => void
  /** What was received has been reported; more may follow at any time. */
  readonly onReceived: () => void
  /** Something failed, and is tried again in so many ms. */
  readonly onFailure: (message: string, retryInMs: number) => void
  /** It works (again). */
  readonly onContact: () => void
}

export class Reflector {
  readonly #options: ReflectorOptions
  readonly #backoff: Backoff
  readonly counts: ReflectorCounts = {
    ...{ lists: 0, watches: 0, events: 0 },
    ...{ failures: 0, expired: 0, throttled: 0 },
  }
  /** Where the watch goes on; undefined: a list is needed. */
  #version: string | undefined
  #servesWatchList = true
  #brokenStreams = 0
  /** A list from any server's cache will not do. */
  #needsLatest = false

  constructor(options: ReflectorOptions) {
    this.#options = options
    const { backoffInitialMs, backoffMaxMs, backoffResetMs } = options.timing
    this.#backoff = new Backoff(
      { initialMs: backoffInitialMs, maxMs: backoffMaxMs, resetMs: backoffResetMs },
      options.clock,
      options.random,
    )
  }

  /** Goes on until the signal aborts; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    const isOver = (): boolean => signal.aborted
    while (!isOver()) {
      try {
        await this.#step(signal)
      } catch (error) {
        if (isOver()) return
        const waitMs = this.#failed(error)
        if (waitMs > 0) await this.#pause(waitMs, signal)
      }
    }
  }

  /** One list, or one watch until it ends. */
  async #step(signal: AbortSignal): Promise<void> {
    if (this.#version !== undefined) return this.#watch(this.#version, signal)
    if (this.#servesWatchList) return this.#watch(undefined, signal)
    await this.#listPages(signal)
  }

  /** Takes note of a failure; how long to wait before the next step. */
  #failed(error: unknown): number {
    const { timing, random, known, onFailure } = this.#options
    if (this.#version === undefined && this.#servesWatchList) {
      this.#servesWatchList = !isRefusal(error) && this.#brokenStreams < MAX_BROKEN_STREAMS
      if (isRefusal(error)) return 0
    }
    this.counts.failures++
    if (error instanceof ApiError && error.status === 429) this.counts.throttled++
    let waitMs = this.#backoff.next(error instanceof ApiError ? (error.retryAfterMs ?? 0) : 0)
    if (isHistoryGone(error) || error instanceof HistoryBroken) {
      this.counts.expired++
      this.#version = undefined
      this.#needsLatest = true
      // After another history, equal versions say nothing about equal content.
      if (!(error instanceof ApiError && error.status === 410)) known.distrust()
      waitMs += random() * timing.relistJitterMs
    }
    onFailure(messageOf(error), waitMs)
    return waitMs
  }

  /** All pages of a list. */
  async #listPages(signal: AbortSignal): Promise<void> {
    const { client, resource, known, timing } = this.#options
    known.beginList()
    let next: string | undefined
    do {
      const path = requestPath(resource, {
        limit: String(timing.pageSize),
        continue: next,
        // With `continue` the server takes the version of the first page.
        resourceVersion: next === undefined && !this.#needsLatest ? '0' : undefined,
      })
      const body = await client.open({ path, gzip: true, signal })
      const metadata = await this.#readPage(body)
      next = textOf(metadata['continue'])
      if (next === undefined) this.#listed(textOf(metadata['resourceVersion']) ?? '0')
      this.#options.onReceived()
    } while (next !== undefined)
  }

  /** Reports the items of a page; returns the list's metadata. */
  async #readPage(body: Readable): Promise<Readonly<Record<string, unknown>>> {
    const splitter = new ListSplitter(MAX_OBJECT_BYTES)
    for await (const chunk of chunksOf(body, () => this.#options.timing.initialIdleMs)) {
      for (const text of splitter.push(chunk)) this.#item(text)
      this.#options.onReceived()
    }
    const list = splitter.end()
    const metadata = isRecord(list) ? list['metadata'] : undefined
    if (!isRecord(metadata)) throw new SluiceError('ERR_API', 'a list without metadata')
    return metadata
  }

  #listed(version: string): void {
    const { known, onListed, onContact } = this.#options
    known.endList()
    this.#version = version
    this.#needsLatest = false
    this.counts.lists++
    onListed()
    onContact()
  }

  /** A watch from that version; without one, a stream that begins with all there is. */
  async #watch(from: string | undefined, signal: AbortSignal): Promise<void> {
    const { client, resource, known, timing, random, clock } = this.#options
    const isInitial = from === undefined
    const path = requestPath(resource, {
      watch: '1',
      allowWatchBookmarks: 'true',
      timeoutSeconds: String(Math.round(timing.watchSeconds * (1 + random()))),
      resourceVersion: from,
      ...(isInitial ? { sendInitialEvents: 'true', resourceVersionMatch: 'NotOlderThan' } : {}),
    })
    const body = await client.open({ path, signal })
    const startedMs = clock.nowMs()
    this.counts.watches++
    if (isInitial) {
      this.#brokenStreams++ // until its end has been seen
      known.beginList()
    } else {
      this.#options.onContact()
    }
    await this.#readEvents(body)
    if (this.#version === undefined) {
      throw new SluiceError('ERR_API', 'the watch ended before all there is had come')
    }
    if (clock.nowMs() - startedMs < SHORT_WATCH_MS) {
      throw new SluiceError('ERR_API', 'the watch ended as soon as it had begun')
    }
  }

  /** Takes in events until the stream ends. */
  async #readEvents(body: Readable): Promise<void> {
    const { timing, onReceived } = this.#options
    const splitter = new LineSplitter(MAX_OBJECT_BYTES)
    const idleMs = () => (this.#version === undefined ? timing.initialIdleMs : timing.idleMs)
    for await (const chunk of chunksOf(body, idleMs)) {
      try {
        for (const line of splitter.push(chunk)) this.#event(line)
      } finally {
        onReceived()
      }
    }
    if (splitter.isInLine) throw new SluiceError('ERR_API', 'the watch ended within an event')
  }

  #event(line: string): void {
    const event: unknown = JSON.parse(line)
    if (!isRecord(event)) throw new SluiceError('ERR_API', 'an event that is no object')
    this.counts.events++
    const { type, object } = event
    switch (type) {
      case 'ADDED':
      case 'MODIFIED':
        this.#changed(object)
        return
      case 'DELETED':
        this.#deleted(object)
        return
      case 'BOOKMARK':
        this.#bookmark(object)
        return
      case 'ERROR':
        throw errorFromStatus(`watch ${this.#options.resource.path}`, 0, JSON.stringify(object))
      default: // Of a later API: nothing that a proxy needs.
    }
  }

  /** An item of a list. One without a name is left out: nothing can be said about it. */
  #item(text: string): void {
    const value: unknown = JSON.parse(text)
    const received = receivedObject(this.#options.resource.kind, value)
    if (received !== undefined) this.#options.known.apply(received)
  }

  #changed(object: unknown): void {
    const { known, resource } = this.#options
    const received = receivedObject(resource.kind, object)
    if (received === undefined) return
    const { key, resourceVersion } = received
    if (!known.isKnown(key, resourceVersion)) this.#moveTo(resourceVersion)
    known.apply(received)
  }

  #deleted(object: unknown): void {
    const { known, resource } = this.#options
    const received = receivedObject(resource.kind, object)
    if (received === undefined || !known.has(received.key)) return
    this.#moveTo(received.resourceVersion)
    known.remove(received.key)
  }

  #bookmark(object: unknown): void {
    const metadata = isRecord(object) && isRecord(object['metadata']) ? object['metadata'] : {}
    const version = textOf(metadata['resourceVersion'])
    if (version === undefined) return
    const { annotations } = metadata
    const isEnd = isRecord(annotations) && annotations[INITIAL_EVENTS_END] === 'true'
    if (this.#version !== undefined) this.#moveTo(version)
    else if (isEnd) {
      this.#brokenStreams = 0
      this.#listed(version)
    }
  }

  /** Where a resumed watch would begin. Throws HistoryBroken when that would be backwards. */
  #moveTo(version: string): void {
    if (this.#version === undefined || version === '') return
    if (isOlder(version, this.#version)) {
      throw new HistoryBroken(
        `resourceVersion ${version} after ${this.#version}: the history has changed; everything is listed again`,
      )
    }
    this.#version = version
  }

  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const onAbort = (): void => {
        cancel()
        resolve()
      }
      const cancel = this.#options.clock.after(ms, () => {
        // The signal lives as long as the process does.
        signal.removeEventListener('abort', onAbort)
        resolve()
      })
      signal.addEventListener('abort', onAbort, { once: true })
    })
  }
}

/** Versions run backwards within a watch. */
class HistoryBroken extends SluiceError {
  constructor(message: string) {
    super('ERR_API', message)
  }
}

/** WatchList is not served: older servers say that the parameters are invalid. */
function isRefusal(error: unknown): boolean {
  return error instanceof ApiError && (error.status === 400 || error.status === 422)
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}
