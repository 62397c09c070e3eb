/** Each protocol against servers that answer as the real ones do, and against ones that do not. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer as createHttp2, type ServerHttp2Stream } from 'node:http2'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTls } from 'node:tls'
import t, { type Test } from 'tap'
import type { HealthCheck, ProbeType } from '../../../../src/policy/health/health-check.js'
import { readAgentLine } from '../../../../src/policy/health/probe/agent.js'
import { Pinger } from '../../../../src/policy/health/probe/icmp.js'
import { probeStarter } from '../../../../src/policy/health/probe/start-probe.js'
import { certificate } from '../../../fixtures/certificate.js'
import { probe } from '../../../fixtures/health.js'
import { listen, listenOn } from '../../../fixtures/probe-server.js'

const pinger = new Pinger(process.pid & 0xffff)
const start = probeStarter(pinger)
t.teardown(() => {
  pinger.close()
})
const ip = '127.0.0.1'

/** Says a hello, then what fits each piece that it gets; bytes as latin1. */
const talker = (hello: string, ...answers: string[]) => {
  return (socket: Socket) => {
    const left = [...answers]
    if (hello !== '') socket.write(hello, 'latin1')
    socket.on('data', () => {
      const next = left.shift()
      if (next !== undefined) socket.write(next, 'latin1')
    })
  }
}

const mysqlPacket = (sequence: number, body: string) =>
  `${String.fromCharCode(body.length, 0, 0, sequence)}${body}`
const mysqlError = (sequence: number, code: number, text: string) =>
  mysqlPacket(sequence, `\xff${String.fromCharCode(code & 255, code >> 8)}#HY000${text}`)
const GREETING = mysqlPacket(0, `\x0a8.0.36\0${'x'.repeat(40)}`)
const postgresError = (state: string) => {
  const body = `SFATAL\0C${state}\0Mno\0\0`
  return `E\0\0\0${String.fromCharCode(body.length + 4)}${body}`
}

const CASES: [ProbeType, string, (socket: Socket) => unknown, boolean, RegExp][] = [
  ['redis', 'PONG', talker('', '+PONG\r\n'), true, /PONG/],
  ['redis', 'wants a password', talker('', '-NOAUTH needed\r\n'), true, /NOAUTH/],
  ['redis', 'loads', talker('', '-LOADING data\r\n'), false, /LOADING/],
  ['redis', 'is something else', talker('HTTP/1.1 400\r\n'), false, /not Redis/],
  ['postgres', 'asks for a password', talker('', 'R\0\0\0\x08\0\0\0\x05'), true, /password/],
  ['postgres', 'no such role', talker('', postgresError('28000')), true, /28000/],
  ['postgres', 'starts up', talker('', postgresError('57P03')), false, /57P03/],
  ['postgres', 'is full', talker('', postgresError('53300')), false, /53300/],
  ['postgres', 'is something else', talker('hello, hello'), false, /not PostgreSQL/],
  ['mysql', 'refuses us', talker(GREETING, mysqlError(2, 1045, 'denied')), true, /8\.0\.36.*1045/],
  ['mysql', 'is full', talker(mysqlError(0, 1040, 'Too many')), false, /1040 Too many/],
  ['mysql', 'is something else', talker('SSH-2.0-x\r\n'.repeat(3)), false, /not MySQL/],
  ['mqtt', 'accepts', talker('', ' \x02\0\0'), true, /accepted/],
  ['mqtt', 'wants credentials', talker('', ' \x02\0\x05'), true, /not authorized/],
  ['mqtt', 'unavailable', talker('', ' \x02\0\x03'), false, /server unavailable/],
  ['smtp', 'serves', talker('220-hi\r\n220 there\r\n', '250-a\r\n250 b\r\n'), true, /250 b/],
  ['smtp', 'is busy', talker('421 later\r\n'), false, /421 later/],
  ['smtp', 'is something else', talker('hello\r\n'), false, /not SMTP/],
  ['agent', 'up', talker('up 75%\n'), true, /agent says up 75%/],
  ['agent', 'down', talker('down #broken\n'), false, /broken/],
]

t.test('servers of each protocol', async (t) => {
  for (const [type, name, serve, isHealthy, reason] of CASES) {
    const port = await listen(t, serve)
    const result = await probe(start, { ip, port, check: { type } })
    t.match(result, { isHealthy, reason }, `${type}: ${name}`)
  }
})

async function http2(
  t: Test,
  serve: (stream: ServerHttp2Stream) => unknown,
  check: Partial<HealthCheck>,
) {
  const server = createHttp2()
  server.on('stream', serve)
  server.on('sessionError', () => undefined)
  const port = await listenOn(t, server)
  return probe(start, { ip, port, check })
}

t.test('http2: status and body', async (t) => {
  const serve = (status: number) => (stream: ServerHttp2Stream) => {
    stream.respond({ ':status': status })
    stream.end('all is well')
  }
  t.match(await http2(t, serve(200), { type: 'http2' }), { isHealthy: true, reason: 'HTTP 200' })
  t.match(await http2(t, serve(503), { type: 'http2' }), { isHealthy: false, reason: 'HTTP 503' })
  const expects = (text: string) => ({ type: 'http2', expectBytes: Buffer.from(text) }) as const
  t.match(await http2(t, serve(200), expects('well')), { isHealthy: true })
  t.match(await http2(t, serve(200), expects('ill')), { isHealthy: false })
})

t.test('grpc: only SERVING is healthy', async (t) => {
  let asked: Buffer = Buffer.alloc(0)
  const serve = (status: number) => (stream: ServerHttp2Stream) => {
    stream.on('data', (piece: Buffer) => (asked = piece))
    stream.respond(
      { ':status': 200, 'content-type': 'application/grpc' },
      { waitForTrailers: true },
    )
    stream.on('wantTrailers', () => {
      stream.sendTrailers({ 'grpc-status': '0' })
    })
    stream.end(Buffer.of(0, 0, 0, 0, 2, 8, status))
  }
  const check = { type: 'grpc', serviceName: 'shop.Cart' } as const
  t.match(await http2(t, serve(1), check), { isHealthy: true, reason: 'SERVING' })
  t.equal(asked.toString('latin1'), '\0\0\0\0\x0b\n\tshop.Cart')
  t.match(await http2(t, serve(2), check), { isHealthy: false, reason: 'NOT_SERVING' })
  const unimplemented = (stream: ServerHttp2Stream) => {
    stream.respond({ ':status': 200, 'grpc-status': '12' }, { endStream: true })
  }
  t.match(await http2(t, unimplemented, check), { isHealthy: false, reason: /UNIMPLEMENTED/ })
})

t.test('tls: a handshake, with a warning of a certificate that ends soon', async (t) => {
  const port = await listenOn(
    t,
    createTls(certificate(2), (socket) => socket.on('error', () => undefined)),
  )
  const result = await probe(start, { ip, port, check: { type: 'tls' } })
  t.match(result, { isHealthy: true, reason: /TLSv1/, warning: /expires in [12] days/ })
})

async function udpServer(t: Test, answer: (query: Buffer) => Buffer | undefined): Promise<number> {
  const socket = createSocket('udp4')
  socket.on('message', (query, from) => {
    const bytes = answer(query)
    if (bytes !== undefined) socket.send(bytes, from.port, from.address)
  })
  socket.bind(0, ip)
  await once(socket, 'listening')
  t.teardown(() => {
    socket.close()
  })
  return socket.address().port
}

async function closedUdpPort(): Promise<number> {
  const socket = createSocket('udp4')
  socket.bind(0, ip)
  await once(socket, 'listening')
  const { port } = socket.address()
  socket.close()
  return port
}

/** An answer with one A record, 10.1.2.3. */
const dnsAnswer = (query: Buffer, code: number): Buffer => {
  const head = Buffer.from(query)
  head.writeUInt16BE(0x8180 | code, 2)
  head.writeUInt16BE(1, 6)
  const record = Buffer.from('c00c00010001000000050004' + '0a010203', 'hex')
  return Buffer.concat([head, record])
}

t.test('dns: the code and the answer, over UDP and TCP', async (t) => {
  const query = { name: 'shop.example', type: 'A' }
  const ask = async (port: number, check: Partial<HealthCheck>, protocol: 'UDP' | 'TCP' = 'UDP') =>
    probe(start, { ip, port, protocol, check: { type: 'dns', ...check } }, 700)
  const good = await udpServer(t, (message) => dnsAnswer(message, 0))
  t.match(await ask(good, { query }), { isHealthy: true, reason: 'NOERROR 10.1.2.3' })
  t.match(await ask(good, { query, expectAnswer: '10.1.2.3' }), { isHealthy: true })
  t.match(await ask(good, { query, expectAnswer: '10.9.9.9' }), { isHealthy: false })
  t.match(await ask(good, { query, expectAnswer: 'NXDOMAIN' }), { isHealthy: false })
  const refusing = await udpServer(t, (message) => dnsAnswer(message, 5))
  t.match(await ask(refusing, {}), { isHealthy: true, reason: /REFUSED/ })
  t.match(await ask(refusing, { query }), { isHealthy: false })
  const failing = await udpServer(t, (message) => dnsAnswer(message, 2))
  t.match(await ask(failing, {}), { isHealthy: false, reason: /SERVFAIL/ })
  const garbage = await udpServer(t, () => Buffer.from('hello'))
  t.match(await ask(garbage, {}), { isHealthy: false, reason: /not DNS/ })
  const foreign = await udpServer(t, (message) => {
    const other = Buffer.from(message)
    other.writeUInt16BE(message.readUInt16BE(0) ^ 1, 0)
    return dnsAnswer(other, 0)
  })
  t.match(await ask(foreign, {}), { isHealthy: false, reason: /^timeout: DNS answer/ })
  t.match(await ask(await closedUdpPort(), {}), { isHealthy: false, reason: 'port unreachable' })
  const tcp = await listen(t, (socket) =>
    socket.on('data', (message: Buffer) => {
      const answer = dnsAnswer(message.subarray(2), 0)
      socket.write(Buffer.of(0, answer.length))
      socket.write(answer)
    }),
  )
  t.match(await ask(tcp, { query }, 'TCP'), { isHealthy: true, reason: 'NOERROR 10.1.2.3' })
})

t.test('udp: an answer, or no objection', async (t) => {
  const echo = await udpServer(t, (message) => message)
  const silent = await udpServer(t, () => undefined)
  const send = Buffer.from('ping')
  const ask = (port: number, check: Partial<HealthCheck>) =>
    probe(start, { ip, port, check: { type: 'udp', timeoutMs: 300, ...check } }, 500)
  t.match(await ask(echo, { send, expectBytes: send }), { isHealthy: true })
  t.match(await ask(echo, { send, expectBytes: Buffer.from('pong') }), { isHealthy: false })
  t.match(await ask(silent, { send, expectBytes: send }), { isHealthy: false, reason: /^timeout/ })
  t.match(await ask(silent, { send }), { isHealthy: true, reason: 'no objection' })
  t.match(await ask(await closedUdpPort(), { send }), { isHealthy: false, reason: /unreachable/ })
})

t.test('exec: the exit status of a program', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kube-sluice-exec-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true })
  })
  const ask = async (script: string) => {
    const command = join(folder, 'check')
    writeFileSync(command, `#!/bin/sh\n${script}\n`, { mode: 0o755 })
    return probe(start, { ip, port: 80, check: { type: 'exec', command } }, 3000)
  }
  t.match(await ask('echo "$1 $2 $ENDPOINT_PORT"'), { isHealthy: true, reason: '127.0.0.1 80 80' })
  t.match(await ask('echo broken; exit 3'), { isHealthy: false, reason: 'exit status 3: broken' })
  t.match(await ask('exec sleep 60'), { isHealthy: false, reason: /^timeout: end of the program/ })
  const missing = { type: 'exec', command: '/nonexistent/check' } as const
  t.match(await probe(start, { ip, port: 80, check: missing }), { isHealthy: false })
})

t.test('agent: the words of HAProxy', async (t) => {
  const cases: [string, object][] = [
    ['up', { isHealthy: true, agent: { isUp: true } }],
    ['75%', { isHealthy: true, agent: { weightPercent: 75 } }],
    ['ready weight:10 maxconn:30', { isHealthy: true, agent: { isUp: true, weight: 10 } }],
    ['drain', { isHealthy: true, agent: { weight: 0 } }],
    ['maint', { isHealthy: false, agent: { isUp: false } }],
    ['stopped#for lunch', { isHealthy: false, reason: /for lunch/ }],
    ['up,down', { isHealthy: false }],
    ['hello', { isHealthy: false, reason: /not an agent's word/ }],
  ]
  for (const [line, expected] of cases) t.match(readAgentLine(line), expected, line)
})

t.test('icmp: an echo', { skip: process.getuid?.() === 0 ? false : 'needs root' }, async (t) => {
  const result = await probe(start, { ip, port: 1, check: { type: 'icmp' } }, 3000)
  if (/raw-socket is not installed/.test(result.reason)) t.comment(result.reason)
  else t.match(result, { isHealthy: true, reason: 'echo reply' })
})
