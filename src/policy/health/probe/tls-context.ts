/** What all probes over TLS have in common: made once, where Node would make it anew for each connection. */
import { createSecureContext, type SecureContext } from 'node:tls'

let shared: SecureContext | undefined

export function tlsContext(): SecureContext {
  shared ??= createSecureContext()
  return shared
}
