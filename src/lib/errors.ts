/**
 * Every error that kube-sluice raises on purpose.
 *
 * A message says what, where and what to do, on one line; `code` is stable and documented in
 * docs/errors.md, `context` carries the parts for structured logs. Outcomes that are part of
 * normal operation (no endpoint, connection refused) are values, not errors.
 */

/** The catalogue. A new code needs a line in docs/errors.md (checked by test/lib/errors.ts). */
export const ERROR_CODES = [
  'ERR_USAGE',
  'ERR_CONFIG',
  'ERR_MANIFEST',
  'ERR_API',
  'ERR_KERNEL',
  'ERR_ADDON',
  'ERR_CAPABILITY',
  'ERR_LISTEN',
  'ERR_TOOL',
  'ERR_TIMEOUT',
  'ERR_STATUS_UNREACHABLE',
  'ERR_PLUGIN',
] as const

export type ErrorCode = (typeof ERROR_CODES)[number]

export interface SluiceErrorOptions {
  readonly cause?: unknown
  readonly context?: Readonly<Record<string, unknown>>
}

/** The one base class. Throw it with the narrowest code that fits. */
export class SluiceError extends Error {
  readonly code: ErrorCode
  readonly context: Readonly<Record<string, unknown>>

  constructor(code: ErrorCode, message: string, options: SluiceErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'SluiceError'
    this.code = code
    this.context = options.context ?? {}
  }
}

/** A system call that failed: which operation, which errno, and the kernel's own text for it. */
export class KernelError extends SluiceError {
  readonly operation: string
  /** Name of the errno, e.g. `EADDRINUSE`. */
  readonly errnoName: string

  constructor(
    operation: string,
    errnoName: string,
    text: string,
    options: SluiceErrorOptions = {},
  ) {
    super('ERR_KERNEL', `${operation}: ${text} (${errnoName})`, options)
    this.name = 'KernelError'
    this.operation = operation
    this.errnoName = errnoName
  }
}

/** The text of anything that was thrown, for a log line. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
