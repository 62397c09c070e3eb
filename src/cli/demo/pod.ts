/**
 * A pod of the demo, run as a process in its own network namespace: an echo server that puts its
 * name before every line, an HTTP server, or a DNS server. Ends when the demo does (IPC closes).
 *
 * It dies by a real SIGKILL to itself, at a moment when it holds no connection: a request in the
 * hands of a process that dies is lost with any proxy below layer 7, so it would say nothing
 * about this one.
 */
import dgram from 'node:dgram'
import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { messageOf } from '../../lib/errors.js'
import { answerQuery } from './dns-message.js'
import type { PodNews, PodOrder } from './messages.js'

type ServeOrder = Extract<PodOrder, { type: 'serve' }>

/** A pod that is never idle dies all the same after this. */
const QUIET_WAIT_MS = 500

let openConnections = 0

process.on('message', (order: PodOrder) => {
  if (order.type === 'die') {
    dieWhenQuiet(performance.now() + QUIET_WAIT_MS)
    return
  }
  serve(order).then(
    () => {
      tell({ type: 'serving' })
    },
    (error: unknown) => {
      tell({ type: 'failed', message: messageOf(error) })
    },
  )
})
process.on('disconnect', () => {
  process.kill(process.pid, 'SIGKILL')
})

async function serve(order: ServeOrder): Promise<void> {
  for (const address of order.addresses) {
    if (order.service === 'dns') await serveDns(order, address)
    else await serveTcp(order, address)
  }
}

async function serveTcp(order: ServeOrder, address: string): Promise<void> {
  const server =
    order.service === 'http' ? createHttpServer(order.pod) : createEchoServer(order.pod)
  server.on('connection', (socket: net.Socket) => {
    openConnections++
    socket.on('close', () => openConnections--)
    // Clients come and go; a reset is theirs to report.
    socket.on('error', () => socket.destroy())
  })
  server.listen({ host: address, port: order.port })
  await once(server, 'listening')
}

function createHttpServer(pod: string): http.Server {
  return http.createServer((request, response) => {
    response.writeHead(200, { 'content-type': 'text/plain', 'x-pod': pod })
    response.end(`${pod} answers ${request.method ?? ''} ${request.url ?? ''}\n`)
  })
}

/** Half-open: what the client sent before its FIN is answered before ours. */
function createEchoServer(pod: string): net.Server {
  return net.createServer({ allowHalfOpen: true }, (socket) => {
    let isLineStart = true
    socket.on('data', (chunk) => {
      const lines = chunk.toString('latin1').split(/(?<=\n)/)
      for (const line of lines) {
        socket.write(isLineStart ? `${pod}: ${line}` : line, 'latin1')
        isLineStart = line.endsWith('\n')
      }
    })
    socket.on('end', () => socket.end())
  })
}

async function serveDns(order: ServeOrder, address: string): Promise<void> {
  const socket = dgram.createSocket(net.isIPv6(address) ? 'udp6' : 'udp4')
  socket.on('message', (query, client) => {
    const reply = answerQuery(query, address, `pod=${order.pod}`)
    if (reply !== undefined) socket.send(reply, client.port, client.address)
  })
  socket.bind(order.port, address)
  await once(socket, 'listening')
}

function dieWhenQuiet(deadlineMs: number): void {
  if (openConnections === 0 || performance.now() > deadlineMs) process.kill(process.pid, 'SIGKILL')
  else setImmediate(dieWhenQuiet, deadlineMs)
}

function tell(news: PodNews): void {
  process.send?.(news)
}
