/**
 * tls: the handshake, and what was set to be sent and expected after it. Any certificate will do; one
 * that ends soon is a warning.
 */
import { TLSSocket } from 'node:tls'
import { expiryWarning } from './certificate-expiry.js'
import { startDialogue } from './dialogue.js'
import { serverNameOf } from './http.js'
import { healthy, type ProbeResult, type StartProbe } from './probe.js'
import { readExpected } from './tcp.js'

export const startTlsProbe: StartProbe = (target, done) => {
  const { check } = target
  const { send, expectBytes } = check
  const isHandshakeAll = send === undefined && expectBytes === undefined
  let warning: string | undefined
  return startDialogue(
    target,
    {
      tls: { serverName: serverNameOf(check) },
      wants: 'expected answer',
      ...(send === undefined ? {} : { send }),
      opened: (socket) => {
        if (!(socket instanceof TLSSocket)) return undefined
        warning = expiryWarning(socket, check)
        const protocol = socket.getProtocol() ?? 'TLS'
        return isHandshakeAll ? withWarning(healthy(protocol), warning) : undefined
      },
      ...(isHandshakeAll
        ? {}
        : {
            read: (talk) => {
              const result = readExpected(talk, expectBytes)
              return result?.isHealthy === true ? withWarning(result, warning) : result
            },
          }),
    },
    done,
  )
}

function withWarning(result: ProbeResult, warning: string | undefined): ProbeResult {
  return warning === undefined ? result : { ...result, warning }
}
