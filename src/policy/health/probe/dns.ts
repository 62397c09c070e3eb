/**
 * dns: a query over the protocol of the Service port, UDP or TCP. Without a query of its own it asks
 * for the root's name servers, and any answer but SERVFAIL will do: a server need not know the root.
 */
import { createSocket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { parseIpAddress } from '../../../lib/ip-address.js'
import type { HealthCheck } from '../health-check.js'
import { startDialogue } from './dialogue.js'
import { decodeAnswer, encodeQuery } from './dns-message.js'
import { errnoText } from './errno-text.js'
import {
  healthy,
  unhealthy,
  type ProbeDone,
  type ProbeResult,
  type ProbeTarget,
  type RunningProbe,
  type StartProbe,
} from './probe.js'

const ROOT = { name: '.', type: 'NS' }
const ANY_CODE = /^(?:[A-Z]{4,10}|RCODE\d+)$/
let nextId = 1

export const startDnsProbe: StartProbe = (target, done) =>
  target.protocol === 'UDP' ? startUdp(target, done) : startTcp(target, done)

function startUdp({ ip, port, check }: ProbeTarget, done: ProbeDone): RunningProbe {
  const { id, query } = newQuery(check)
  const socket = createSocket(isIPv6(ip) ? 'udp6' : 'udp4')
  let isOver = false
  const end = (result: ProbeResult): void => {
    if (isOver) return
    isOver = true
    socket.close()
    done(result)
  }
  const failed = (error: Error & { readonly code?: string }): void => {
    end(unhealthy(error.code === 'ECONNREFUSED' ? 'port unreachable' : errnoText(error)))
  }
  socket.on('error', failed)
  socket.on('message', (message) => {
    const result = judge(message, id, check)
    // Not to our question: of an earlier one, or forged.
    if (result !== undefined) end(result)
  })
  socket.connect(port, ip, (error?: Error) => {
    if (isOver) return
    if (error instanceof Error) failed(error)
    else {
      socket.send(query, (failure) => {
        if (failure !== null) failed(failure)
      })
    }
  })
  return {
    cancel: () => {
      if (!isOver) socket.close()
      isOver = true
      return 'DNS answer'
    },
  }
}

/** Over TCP each message has its length before it (RFC 1035, 4.2.2). */
function startTcp(target: ProbeTarget, done: ProbeDone): RunningProbe {
  const { check } = target
  const { id, query } = newQuery(check)
  const length = Buffer.alloc(2)
  length.writeUInt16BE(query.length, 0)
  return startDialogue(
    target,
    {
      send: Buffer.concat([length, query]),
      wants: 'DNS answer',
      read: ({ received }) => {
        if (received.length < 2) return undefined
        const end = 2 + received.readUInt16BE(0)
        if (received.length < end) return undefined
        return judge(received.subarray(2, end), id, check) ?? unhealthy('an answer to nothing')
      },
    },
    done,
  )
}

function newQuery({ query = ROOT }: HealthCheck): { id: number; query: Buffer } {
  nextId = (nextId * 75 + 74) % 65_537
  const id = nextId & 0xffff
  return { id, query: encodeQuery(id, query.name, query.type) }
}

function judge(message: Buffer, id: number, check: HealthCheck): ProbeResult | undefined {
  const answer = decodeAnswer(message)
  if (answer === undefined) return unhealthy('its answer is not DNS')
  if (answer.id !== id || !answer.isResponse) return undefined
  const { code, answers } = answer
  const found = [code, ...answers].join(' ').slice(0, 200)
  const wanted = check.expectAnswer
  if (wanted === undefined) {
    const isWell = check.query === undefined ? code !== 'SERVFAIL' : code === 'NOERROR'
    return isWell ? healthy(found) : unhealthy(found)
  }
  const isThere = ANY_CODE.test(wanted)
    ? code === wanted
    : answers.some((one) => plain(one) === plain(wanted))
  return isThere ? healthy(found) : unhealthy(found)
}

/** Names without case and final dot, addresses in their canonical form. */
function plain(text: string): string {
  return parseIpAddress(text) ?? text.toLowerCase().replace(/\.$/, '')
}
