/** What the API server refused, as far as a client decides by it. */
import { messageOf, SluiceError } from '../../lib/errors.js'

export class ApiError extends SluiceError {
  /** HTTP status, or the code of a Status object in a watch. */
  readonly status: number
  /** `Expired`, `Invalid` ...: metav1.StatusReason; '' when it is not known. */
  readonly reason: string
  /** The server asks for this pause; undefined when it does not. */
  readonly retryAfterMs: number | undefined

  constructor(
    message: string,
    parts: { readonly status: number; readonly reason: string; readonly retryAfterMs?: number },
  ) {
    super('ERR_API', message)
    this.name = 'ApiError'
    this.status = parts.status
    this.reason = parts.reason
    this.retryAfterMs = parts.retryAfterMs
  }
}

/** metav1.Status, as it may come. */
interface StatusObject {
  readonly code?: unknown
  readonly reason?: unknown
  readonly message?: unknown
  readonly details?: {
    readonly retryAfterSeconds?: unknown
    readonly causes?: unknown
  } | null
}

/** Status objects say more than the HTTP status; a body that is none is for people. */
export function errorFromStatus(
  what: string,
  status: number,
  body: string,
  retryAfter?: string,
): ApiError {
  const object = statusOf(body)
  const code = typeof object.code === 'number' ? object.code : status
  const reason = typeof object.reason === 'string' ? object.reason : ''
  const text = typeof object.message === 'string' ? object.message : body
  const [line = ''] = text.trim().split('\n')
  const seconds = Number(retryAfter ?? object.details?.retryAfterSeconds)
  return new ApiError(`${what}: ${code} ${reason}: ${line.slice(0, 300)}`, {
    status: code,
    reason: hasCause(object, 'ResourceVersionTooLarge') ? 'ResourceVersionTooLarge' : reason,
    ...(Number.isFinite(seconds) && seconds > 0 ? { retryAfterMs: seconds * 1000 } : {}),
  })
}

/** The resourceVersion that was asked for is too old to be known, or the history has another beginning. */
export function isHistoryGone(error: unknown): boolean {
  return (
    error instanceof ApiError &&
    (error.status === 410 ||
      error.reason === 'Expired' ||
      error.reason === 'Gone' ||
      error.reason === 'ResourceVersionTooLarge' ||
      /too large resource version/i.test(error.message))
  )
}

function statusOf(body: string): StatusObject {
  try {
    const value: unknown = JSON.parse(body)
    return typeof value === 'object' && value !== null ? value : {}
  } catch (error) {
    return { message: body === '' ? messageOf(error) : body }
  }
}

function hasCause(object: StatusObject, wanted: string): boolean {
  const causes = object.details?.causes
  return (
    Array.isArray(causes) &&
    (causes as readonly { readonly reason?: unknown }[]).some(({ reason }) => reason === wanted)
  )
}
