import { once } from 'node:events'
import {
  createServer,
  type AddressInfo,
  type ListenOptions,
  type Server,
  type Socket,
} from 'node:net'
import t, { type Test } from 'tap'

import { connectFromSocket } from '../../src/kernel/dial-socket.js'
import { compileSourceFilter } from '../../src/packet/source-filter.js'
import { closeSocket, fileDescriptorOf, openSocket } from '../../src/kernel/socket.js'

const DEADLINE_MS = 5_000
const SOURCE = '127.0.0.9'

const skip = process.getuid?.() === 0 ? false : 'IP_TRANSPARENT needs root'

function dialSocket(): number {
  return openSocket({
    type: 'tcp',
    family: 'IPv4',
    transparent: true,
    bindAddressNoPort: true,
    bind: { address: SOURCE, port: 0 },
  })
}

async function listen(
  t: Test,
  onConnection: (socket: Socket) => void,
  at: ListenOptions & { fd?: number } = { port: 0, host: '127.0.0.1' },
): Promise<AddressInfo> {
  const server: Server = createServer({ allowHalfOpen: true }, onConnection)
  t.teardown(() => server.close())
  server.listen(at)
  await once(server, 'listening', { signal: AbortSignal.timeout(DEADLINE_MS) })
  return server.address() as AddressInfo
}

t.test('connects with the source it is bound to, half-close included', { skip }, async (t) => {
  const seen: string[] = []
  const { port } = await listen(t, (socket) => {
    seen.push(socket.remoteAddress ?? '')
    const chunks: Buffer[] = []
    socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    socket.on('end', () => socket.end(Buffer.concat(chunks).toString().toUpperCase()))
  })
  const fd = dialSocket()
  const socket = connectFromSocket(fd, { host: '127.0.0.1', port, allowHalfOpen: true })
  t.teardown(() => socket.destroy())
  t.equal(fileDescriptorOf(socket), fd)
  socket.end('hello')
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  await once(socket, 'end', { signal: AbortSignal.timeout(DEADLINE_MS) })
  t.equal(Buffer.concat(chunks).toString(), 'HELLO')
  t.same(seen, [SOURCE])
})

t.test('a refused connection is an error event and closes the descriptor', { skip }, async (t) => {
  const { port } = await listen(t, () => undefined)
  const fd = dialSocket()
  // A port that nobody can be listening on: the source address has no listeners.
  const socket = connectFromSocket(fd, { host: SOURCE, port })
  const [error] = (await once(socket, 'error', {
    signal: AbortSignal.timeout(DEADLINE_MS),
  })) as [NodeJS.ErrnoException]
  t.equal(error.code, 'ECONNREFUSED')
  if (!socket.closed) await once(socket, 'close', { signal: AbortSignal.timeout(DEADLINE_MS) })
  t.equal(fileDescriptorOf(socket), undefined)
})

t.test('destroy() gives up before and while connecting', { skip }, async (t) => {
  const { port } = await listen(t, () => undefined, {
    fd: openSocket({
      type: 'tcp',
      family: 'IPv4',
      bind: { address: '127.0.0.1', port: 0 },
      // Drops everything: a SYN is never answered.
      filter: compileSourceFilter([], 'IPv4') ?? new Uint8Array(),
    }),
  })
  for (const wait of [false, true]) {
    const fd = dialSocket()
    const socket = connectFromSocket(fd, { host: '127.0.0.1', port })
    socket.on('error', () => undefined)
    if (wait) await new Promise(setImmediate)
    socket.destroy()
    await once(socket, 'close', { signal: AbortSignal.timeout(DEADLINE_MS) })
    t.equal(fileDescriptorOf(socket), undefined)
  }
})

t.test('a descriptor that is no TCP socket is refused and closed', async (t) => {
  const fd = openSocket({ type: 'udp', family: 'IPv4' })
  t.throws(() => connectFromSocket(fd, { host: '127.0.0.1', port: 9 }), {
    code: 'ERR_INVALID_FD_TYPE',
  })
  t.throws(
    () => {
      closeSocket(fd)
    },
    { errnoName: 'EBADF' } as never,
  )
})
