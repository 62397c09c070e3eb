/** What the error of a socket means, for the reason of a failed probe. */
const TEXTS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EPIPE: 'connection reset',
  EHOSTUNREACH: 'host unreachable',
  ENETUNREACH: 'network unreachable',
  ETIMEDOUT: 'no answer to the connect',
}

export function errnoText(error: Error & { readonly code?: string }): string {
  return TEXTS[error.code ?? ''] ?? error.message
}
