/**
 * udp: a datagram, and the answer that was set. Where none was, silence is health as well: only a
 * "port unreachable" tells that nobody is there.
 */
import { createSocket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { errnoText } from './errno-text.js'
import { healthy, unhealthy, type ProbeResult, type StartProbe } from './probe.js'
import { excerpt } from './tcp.js'

/** Share of the time-out after which silence is taken for an answer. */
const SILENCE = 0.8

export const startUdpProbe: StartProbe = ({ ip, port, check }, done) => {
  const { expectBytes, send = Buffer.alloc(0) } = check
  const socket = createSocket(isIPv6(ip) ? 'udp6' : 'udp4')
  let isOver = false
  const close = (): void => {
    isOver = true
    clearTimeout(timer)
    socket.close()
  }
  const end = (result: ProbeResult): void => {
    if (isOver) return
    close()
    done(result)
  }
  const timer =
    expectBytes === undefined
      ? setTimeout(() => {
          end(healthy('no objection'))
        }, check.timeoutMs * SILENCE)
      : undefined
  socket.on('error', (error) => {
    end(unhealthy(refusedText(error)))
  })
  socket.on('message', (message) => {
    const isExpected = expectBytes === undefined || message.includes(expectBytes)
    end(isExpected ? healthy('answered') : unhealthy(`another answer: ${excerpt(message)}`))
  })
  socket.connect(port, ip, (error?: Error) => {
    if (isOver) return
    if (error instanceof Error) end(unhealthy(errnoText(error)))
    else {
      socket.send(send, (failure) => {
        if (failure !== null) end(unhealthy(refusedText(failure)))
      })
    }
  })
  return {
    cancel: () => {
      if (!isOver) close()
      return 'answer'
    },
  }
}

function refusedText(error: Error & { readonly code?: string }): string {
  return error.code === 'ECONNREFUSED' ? 'port unreachable' : errnoText(error)
}
