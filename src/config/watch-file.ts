/**
 * Tells when the content of a file has changed. A watch on its folder notices writes, renames, and
 * the swapped link of a ConfigMap that is mounted; should the kernel miss one, a look every
 * `pollMs` does.
 */
import { type FSWatcher, watch } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { messageOf } from '../lib/errors.js'

export interface FileWatchOptions {
  readonly file: string
  /** How long a burst of file events is gathered. */
  readonly settleMs?: number
  readonly pollMs?: number
  /** With the new text; never twice with the same one. */
  readonly onChange: (text: string) => void
  /** The file cannot be read; once for each reason. */
  readonly onUnreadable: (reason: string) => void
}

/** Watches from the text that is known on; the function that is returned ends it. */
export function watchFile(known: string, options: FileWatchOptions): () => void {
  const { file, settleMs = 100, pollMs = 5000, onChange, onUnreadable } = options
  let text = known
  let reason = ''
  let isClosed = false
  let settle: NodeJS.Timeout | undefined
  const look = async (): Promise<void> => {
    try {
      const now = await readFile(file, 'utf8')
      reason = ''
      if (isClosed || now === text) return
      text = now
      onChange(now)
    } catch (error) {
      const said = messageOf(error)
      if (isClosed || said === reason) return
      reason = said
      onUnreadable(said)
    }
  }
  const poll = setInterval(() => void look(), pollMs)
  poll.unref()
  const watcher = tryWatch(dirname(file), () => {
    clearTimeout(settle)
    settle = setTimeout(() => void look(), settleMs)
  })
  return () => {
    isClosed = true
    clearInterval(poll)
    clearTimeout(settle)
    watcher?.close()
  }
}

/** undefined where nothing can be watched: the poll is enough. */
function tryWatch(folder: string, onEvent: () => void): FSWatcher | undefined {
  try {
    const watcher = watch(folder, { persistent: false }, onEvent)
    watcher.on('error', () => {
      watcher.close()
    })
    return watcher
  } catch {
    return undefined
  }
}
