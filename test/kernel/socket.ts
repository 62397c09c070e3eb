import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { closeSync, openSync, readdirSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import t from 'tap'

import { parseIpRange } from '../../src/lib/ip-address.js'
import {
  closeSocket,
  fileDescriptorOf,
  openSocket,
  originalDestination,
  raiseFileLimit,
  setSocketFilter,
} from '../../src/kernel/socket.js'
import { compileSourceFilter } from '../../src/packet/source-filter.js'

const DEADLINE_MS = 5_000
const deadline = () => ({ signal: AbortSignal.timeout(DEADLINE_MS) })
const isRoot = process.getuid?.() === 0

const families = [
  { family: 'IPv4', loopback: '127.0.0.1', foreign: '192.0.2.1' },
  { family: 'IPv6', loopback: '::1', foreign: '2001:db8::1' },
] as const

for (const { family, loopback, foreign } of families) {
  t.test(`${family}: a bound TCP socket becomes a net.Server`, async (t) => {
    const fd = openSocket({ type: 'tcp', family, bind: { address: loopback, port: 0 } })
    const accepted: Socket[] = []
    const server = createServer((socket) => accepted.push(socket))
    t.teardown(() => server.close())
    server.listen({ fd, backlog: 4 })
    await once(server, 'listening', deadline())
    const { address, port } = server.address() as AddressInfo
    t.equal(address, loopback)
    t.equal(fileDescriptorOf(server), fd)

    const client = connect({ host: loopback, port })
    t.teardown(() => client.destroy())
    const [socket] = (await once(server, 'connection', deadline())) as [Socket]
    t.teardown(() => socket.destroy())
    t.equal(originalDestination(fileDescriptorOf(socket)!, family), undefined, 'not translated')

    socket.destroy()
    server.close()
    await once(server, 'close', deadline())
    t.equal(fileDescriptorOf(server), undefined, 'a closed server has none')
  })

  t.test(`${family}: a bound UDP socket becomes a dgram.Socket`, async (t) => {
    const fd = openSocket({ type: 'udp', family, bind: { address: loopback, port: 0 } })
    const socket = createSocket(family === 'IPv4' ? 'udp4' : 'udp6')
    t.teardown(() => socket.close())
    // Node emits 'listening' within bind() when it is given a descriptor.
    const listening = once(socket, 'listening', deadline())
    socket.bind({ fd })
    await listening
    const { port } = socket.address()
    t.throws(
      () => openSocket({ type: 'udp', family, bind: { address: loopback, port } }),
      { code: 'ERR_KERNEL', errnoName: 'EADDRINUSE', message: new RegExp(`:${port}.*bind`) },
      'reuseAddress is off for UDP',
    )
    const sender = createSocket(family === 'IPv4' ? 'udp4' : 'udp6')
    t.teardown(() => sender.close())
    const message = once(socket, 'message', deadline())
    sender.send('ping', port, loopback)
    const [text] = (await message) as [Buffer]
    t.equal(text.toString(), 'ping')
  })

  t.test(`${family}: foreign addresses need freebind or transparent`, async (t) => {
    const bind = { address: foreign, port: 0 }
    t.throws(() => openSocket({ type: 'tcp', family, bind }), {
      errnoName: 'EADDRNOTAVAIL',
    } as never)
    closeSocket(openSocket({ type: 'tcp', family, bind, freebind: true }))
    if (isRoot) closeSocket(openSocket({ type: 'udp', family, bind, transparent: true, mark: 7 }))
  })

  t.test(`${family}: a filter is replaced while the socket is in use`, async (t) => {
    const none = compileSourceFilter([], family)!
    const fd = openSocket({
      type: 'udp',
      family,
      bind: { address: loopback, port: 0 },
      filter: none,
    })
    const socket = createSocket(family === 'IPv4' ? 'udp4' : 'udp6')
    t.teardown(() => socket.close())
    const got: string[] = []
    socket.on('message', (text) => got.push(text.toString()))
    socket.bind({ fd })
    const sender = createSocket(family === 'IPv4' ? 'udp4' : 'udp6')
    t.teardown(() => sender.close())
    const { port } = socket.address()
    // A datagram over loopback is in the receiver's queue, or dropped, when send() calls back.
    const send = (text: string) =>
      new Promise((resolve) => {
        sender.send(text, port, loopback, resolve)
      })
    await send('dropped')
    const range = parseIpRange(`${loopback}/${family === 'IPv4' ? 8 : 128}`)!
    setSocketFilter(fd, compileSourceFilter([range], family)!)
    await send('let in')
    setSocketFilter(fd, none)
    await send('dropped again')
    setSocketFilter(fd, new Uint8Array())
    setSocketFilter(fd, new Uint8Array())
    const last = once(socket, 'message', deadline())
    await send('unfiltered')
    await last
    if (got.length < 2) await once(socket, 'message', deadline())
    t.same(got, ['let in', 'unfiltered'])
  })
}

t.test('a socket whose opening fails leaves no descriptor behind', async (t) => {
  const count = () => readdirSync('/proc/self/fd').length
  const before = count()
  const filter = new Uint8Array(8) // a program that does not return
  for (let round = 0; round < 10; round++) {
    t.throws(() => openSocket({ type: 'tcp', family: 'IPv4', filter }), {
      errnoName: 'EINVAL',
    } as never)
  }
  t.equal(count(), before)
})

t.test('closing twice and foreign descriptors are kernel errors', async (t) => {
  const fd = openSocket({ type: 'udp', family: 'IPv6' })
  closeSocket(fd)
  t.throws(
    () => {
      closeSocket(fd)
    },
    { code: 'ERR_KERNEL', errnoName: 'EBADF', operation: `close socket ${fd}: close` },
  )
  // Not descriptor 0: standard input may be a socket.
  const file = openSync('/dev/null', 'r')
  t.teardown(() => {
    closeSync(file)
  })
  t.throws(
    () => {
      setSocketFilter(file, new Uint8Array())
    },
    { errnoName: 'ENOTSOCK' } as never,
  )
})

t.test('the limit of open files is raised and never lowered', async (t) => {
  const now = raiseFileLimit(64)
  t.ok(now >= 64)
  t.ok(raiseFileLimit(now + 1) >= now)
  t.equal(raiseFileLimit(1), raiseFileLimit(1))
  t.ok(raiseFileLimit(1) >= now)
})
