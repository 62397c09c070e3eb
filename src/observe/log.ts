/** The log: JSON lines on standard error, pretty on a terminal. Few lines, each says "so what". */
import { createRequire } from 'node:module'

import { pino, type Logger } from 'pino'
import type Pretty from 'pino-pretty'
import type { LogLevel } from '../config/run-config.js'

export type { Logger } from 'pino'

/** A logger of that level. Writes are synchronous: the last line before an end is never lost. */
export function createLog(level: LogLevel): Logger {
  const isTerminal = process.stderr.isTTY
  const colorize = isTerminal && (process.env['NO_COLOR'] ?? '') === ''
  const destination = isTerminal
    ? pretty()({ destination: 2, sync: true, colorize, ignore: 'pid,hostname' })
    : pino.destination({ dest: 2, sync: true })
  const options = { level, base: null, timestamp: pino.stdTimeFunctions.isoTime }
  return pino(options, destination)
}

/** Loaded on a terminal only: a start of a node's proxy is short. */
function pretty(): typeof Pretty {
  return createRequire(import.meta.url)('pino-pretty') as typeof Pretty
}
