/**
 * Every protocol against every way in which a server can be there and not be well. None of them is healthy,
 * each finding says what was wrong, and no probe leaves a connection behind.
 */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import t, { type Test } from 'tap'
import type { HealthCheck, ProbeType } from '../../../../src/policy/health/health-check.js'
import { probeStarter } from '../../../../src/policy/health/probe/start-probe.js'
import { probeSockets } from '../../../../src/kernel/probe-sockets.js'
import { probe } from '../../../fixtures/health.js'
import { closedPort, listen } from '../../../fixtures/probe-server.js'

const ip = '127.0.0.1'
const start = probeStarter(undefined, probeSockets)
const TIMEOUT_MS = 700

interface Protocol {
  readonly type: ProbeType
  readonly check?: Partial<HealthCheck>
  /** How a true answer begins: after it, or in the middle of it, a server may fall silent. */
  readonly beginning: string
  /** What a server of this protocol says when it is not well, and what is to be reported. */
  readonly bad: readonly [answer: string, reason: RegExp]
}

const mysqlError = '\x17\0\0\0\xff\x10\x04#08004Too many (1040)'
const http = 'HTTP/1.1 200 OK\r\nContent-'
/** A frame of settings, as an HTTP/2 server begins; and GOAWAY with the code 11, ENHANCE_YOUR_CALM. */
const SETTINGS = '\0\0\0\x04\0\0\0\0\0'
const GOAWAY = `${SETTINGS}\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0b`
/** Record of TLS: an alert, fatal, internal error. */
const TLS_ALERT = '\x15\x03\x03\0\x02\x02\x50'
/** Of a DNS message over TCP: its length, then SERVFAIL to nobody's question. */
const DNS_ANSWER = '\0\x0c\xff\xff\x81\x82\0\0\0\0\0\0\0\0'

const PROTOCOLS: readonly Protocol[] = [
  {
    type: 'tcp',
    check: { send: Buffer.from('ping'), expectBytes: Buffer.from('pong') },
    beginning: 'po',
    bad: ['no', /^timeout|another answer/],
  },
  {
    type: 'http',
    beginning: http,
    bad: ['HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n', /HTTP 503/],
  },
  {
    type: 'http',
    check: { expectBytes: Buffer.from('well') },
    beginning: `${http}Length: 11\r\n\r\nall is we`,
    bad: ['HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nill', /not in the body/],
  },
  { type: 'https', beginning: '\x16\x03\x03\0\x7a\x02', bad: [TLS_ALERT, /./] },
  { type: 'tls', beginning: '\x16\x03\x03\0\x7a\x02', bad: [TLS_ALERT, /./] },
  { type: 'http2', beginning: SETTINGS.slice(0, 5), bad: [GOAWAY, /./] },
  { type: 'grpc', beginning: SETTINGS.slice(0, 5), bad: [GOAWAY, /./] },
  { type: 'dns', beginning: '\0\x40\0', bad: [DNS_ANSWER, /answer to nothing|SERVFAIL/] },
  { type: 'redis', beginning: '+PO', bad: ['-MASTERDOWN no master\r\n', /MASTERDOWN/] },
  { type: 'postgres', beginning: 'R\0\0', bad: ['E\0\0\0\x12SFATAL\0C57P03\0\0', /57P03/] },
  { type: 'mysql', beginning: '\x30\0\0\0\x0a8.0', bad: [mysqlError, /1040/] },
  { type: 'mqtt', beginning: ' \x02', bad: [' \x02\0\x03', /server unavailable/] },
  { type: 'smtp', beginning: '220-hello\r\n22', bad: ['554 go away\r\n', /554/] },
  { type: 'agent', beginning: 'u', bad: ['down #disk full\n', /disk full/] },
]

/** Says the text, a piece of it at a time. */
function slowly(text: string, everyMs: number) {
  return (socket: Socket): void => {
    let at = 0
    const timer = setInterval(() => socket.write(text[at++ % text.length]!, 'latin1'), everyMs)
    socket.once('close', () => {
      clearInterval(timer)
    })
  }
}

/** As much as it can get rid of, for as long as somebody takes it. */
function flood(socket: Socket): void {
  const piece = Buffer.alloc(65_536, 'x')
  const more = (): void => {
    while (!socket.destroyed && socket.write(piece)) continue
  }
  socket.on('drain', more)
  more()
}

type Fake = readonly [name: string, (protocol: Protocol) => (socket: Socket) => unknown, RegExp?]

const FAKES: readonly Fake[] = [
  ['it accepts and says nothing', () => () => undefined, /^timeout/],
  ['it answers garbage', () => (socket) => socket.write(Buffer.alloc(300, 0xa7))],
  ['one byte of garbage now and then', () => slowly('\xa7\0\xff', 150)],
  [
    'its answer comes byte by byte, too late',
    ({ beginning }) => slowly(beginning, 300),
    /^timeout/,
  ],
  [
    'half of an answer, then silence: half-open',
    ({ beginning }) =>
      (socket) =>
        socket.write(beginning, 'latin1'),
    /^timeout/,
  ],
  [
    'half of an answer, then the end',
    ({ beginning }) =>
      (socket) =>
        socket.end(beginning, 'latin1'),
  ],
  ['it resets', () => (socket) => socket.resetAndDestroy()],
  ['it ends at once', () => (socket) => socket.end()],
  ['a huge answer', () => flood],
]

/** A server, and whether all who have come are gone again. */
async function serve(t: Test, behave: (socket: Socket) => unknown) {
  let open = 0
  const port = await listen(t, (socket) => {
    open++
    socket.once('close', () => open--)
    behave(socket)
  })
  const isLeft = async (): Promise<boolean> => {
    for (let i = 0; i < 400 && open > 0; i++) {
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
    return open === 0
  }
  return { port, isLeft }
}

const nameOf = ({ type, check }: Protocol) => `${type}${check === undefined ? '' : ', expecting'}`

for (const [name, behaviour, reason = /./] of FAKES) {
  t.test(`a server: ${name}`, async (t) => {
    await Promise.all(
      PROTOCOLS.map(async (protocol) => {
        const { port, isLeft } = await serve(t, behaviour(protocol))
        const check = { type: protocol.type, timeoutMs: TIMEOUT_MS, ...protocol.check }
        const result = await probe(start, { ip, port, check }, TIMEOUT_MS)
        t.match(result, { isHealthy: false, reason }, nameOf(protocol))
        t.ok(await isLeft(), `${nameOf(protocol)}: its connection is closed`)
      }),
    )
  })
}

t.test('a server that says that it is not well', async (t) => {
  await Promise.all(
    PROTOCOLS.map(async (protocol) => {
      const [answer, reason] = protocol.bad
      const { port, isLeft } = await serve(t, (socket) => {
        // At once, or when it was asked: most would not have listened before.
        if (protocol.type === 'smtp' || protocol.type === 'mysql') socket.write(answer, 'latin1')
        else socket.once('data', () => socket.write(answer, 'latin1'))
        if (protocol.type === 'agent') socket.write(answer, 'latin1')
      })
      const check = { type: protocol.type, timeoutMs: TIMEOUT_MS, ...protocol.check }
      const result = await probe(start, { ip, port, check }, TIMEOUT_MS)
      t.match(result, { isHealthy: false, reason }, nameOf(protocol))
      t.ok(await isLeft(), `${nameOf(protocol)}: its connection is closed`)
    }),
  )
})

t.test('nobody listens', async (t) => {
  const port = await closedPort()
  for (const protocol of PROTOCOLS) {
    const check = { type: protocol.type, ...protocol.check }
    const result = await probe(start, { ip, port, check })
    t.match(result, { isHealthy: false, reason: /refused/ }, nameOf(protocol))
  }
})

t.test('datagrams: silence, garbage, an answer to something else, a flood of them', async (t) => {
  const answers: [string, (query: Buffer) => readonly Buffer[]][] = [
    ['silence', () => []],
    ['garbage', () => [Buffer.alloc(300, 0xa7)]],
    ['a byte', () => [Buffer.of(0)]],
    ['nothing in a datagram', () => [Buffer.alloc(0)]],
    ['the question itself', (query) => [query]],
    ['a flood', () => Array.from({ length: 50 }, () => Buffer.alloc(9000, 0xa7))],
  ]
  const expecting = { type: 'udp', send: Buffer.from('ping'), expectBytes: Buffer.from('pong') }
  const checks = [{ type: 'dns' }, expecting] as readonly Partial<HealthCheck>[]
  for (const [name, answer] of answers) {
    const socket = createSocket('udp4')
    socket.on('message', (query, { port, address }) => {
      for (const bytes of answer(query)) socket.send(bytes, port, address)
    })
    socket.bind(0, ip)
    await once(socket, 'listening')
    const { port } = socket.address()
    for (const check of checks) {
      const target = { ip, port, protocol: 'UDP', check: { timeoutMs: 300, ...check } } as const
      t.match(await probe(start, target, 300), { isHealthy: false }, `${check.type}: ${name}`)
    }
    socket.close()
  }
})
