/** Whether the certificate of a TLS connection ends soon. It is a warning and no failure: clients decide. */
import type { TLSSocket } from 'node:tls'
import type { HealthCheck } from '../health-check.js'

export const DEFAULT_EXPIRY_WARNING_MS = 7 * 24 * 3_600_000
const DAY_MS = 24 * 3_600_000

/** undefined: it is valid for long enough, or there is none. */
export function expiryWarning(
  socket: TLSSocket,
  { expiryWarningMs = DEFAULT_EXPIRY_WARNING_MS }: Pick<HealthCheck, 'expiryWarningMs'>,
  nowMs: number = Date.now(),
): string | undefined {
  const certificate = socket.getPeerCertificate()
  const endsMs = Date.parse(certificate.valid_to)
  if (Number.isNaN(endsMs)) return undefined
  const ends = new Date(endsMs).toISOString()
  if (endsMs <= nowMs) return `its certificate has expired at ${ends}`
  if (endsMs - nowMs >= expiryWarningMs) return undefined
  return `its certificate expires in ${Math.floor((endsMs - nowMs) / DAY_MS)} days, at ${ends}`
}
