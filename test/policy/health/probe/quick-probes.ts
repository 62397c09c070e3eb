/** The quick way of the tcp and http checks, beside the protocols' own: they say the same of every server. */
import type { Socket } from 'node:net'
import t from 'tap'
import { probeSockets } from '../../../../src/kernel/probe-sockets.js'
import { systemClock } from '../../../../src/lib/clock.js'
import type { HealthCheck } from '../../../../src/policy/health/health-check.js'
import { startHttpProbe } from '../../../../src/policy/health/probe/http.js'
import { QuickProbes } from '../../../../src/policy/health/probe/quick-probes.js'
import { startTcpProbe } from '../../../../src/policy/health/probe/tcp.js'
import { healthCheck, probe } from '../../../fixtures/health.js'
import { closedPort, listen } from '../../../fixtures/probe-server.js'

const ip = '127.0.0.1'
const quick = new QuickProbes(probeSockets, systemClock)
const start = quick.start.bind(quick)
const OPEN = { type: 'http' } as const

/** Answers with the pieces, one after the other, once the request has come. */
const answering =
  (...pieces: string[]) =>
  (socket: Socket) => {
    socket.once('data', () => {
      for (const [i, piece] of pieces.entries())
        setTimeout(() => socket.write(piece, 'latin1'), i * 30)
    })
  }

const SERVERS: [string, (socket: Socket) => unknown, Partial<HealthCheck>?][] = [
  ['200', answering('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')],
  ['200 of HTTP/1.0 without a reason', answering('HTTP/1.0 200\r\n\r\n')],
  ['404', answering('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n')],
  ['503', answering('HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n')],
  [
    '401 that is expected',
    answering('HTTP/1.1 401 Who\r\nContent-Length: 0\r\n\r\n'),
    { expectStatus: [{ from: 401, to: 401 }] },
  ],
  ['in pieces', answering('HT', 'TP/1.1 2', '00 OK\r\nA: b\r', '\n\r', '\nok')],
  [
    'informational first',
    answering('HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n', 'HTTP/1.1 204 No\r\n\r\n'),
  ],
  ['switches protocols', answering('HTTP/1.1 101 Up\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n')],
  ['says nothing', () => undefined],
  ['headers do not end', answering('HTTP/1.1 200 OK\r\nA: b\r\n')],
  ['resets', (socket) => socket.resetAndDestroy()],
]

t.test('http: the same findings as the probe of node:http', async (t) => {
  for (const [name, serve, over] of SERVERS) {
    const port = await listen(t, serve)
    const target = { ip, port, check: { ...OPEN, ...over } }
    const [own, nodes] = await Promise.all([
      probe(start, target, 400),
      probe(startHttpProbe, target, 400),
    ])
    t.same(own, nodes, name)
  }
  const target = { ip, port: await closedPort(), check: OPEN }
  t.same(await probe(start, target), await probe(startHttpProbe, target), 'nobody listens')
})

t.test('http: what is no HTTP, and ends', async (t) => {
  const bad: [string, (socket: Socket) => unknown, RegExp][] = [
    ['garbage', answering('\x00\x01\x02 no http\r\n\r\n'), /is not HTTP: "/],
    ['another protocol', answering('SSH-2.0-OpenSSH_9\r\n'), /is not HTTP: "SSH/],
    ['a status of two digits', answering('HTTP/1.1 20 OK\r\n\r\n'), /is not HTTP/],
    [
      'a flood of headers',
      answering(`HTTP/1.1 200 OK\r\n${'X: y\r\n'.repeat(20_000)}`),
      /16384 bytes/,
    ],
    ['the end', (socket) => socket.end(), /connection reset/],
  ]
  for (const [name, serve, reason] of bad) {
    const port = await listen(t, serve)
    const result = await probe(start, { ip, port, check: OPEN }, 1000)
    t.match(result, { isHealthy: false, reason }, name)
  }
})

t.test('http: the request is the one that was set', async (t) => {
  const seen: string[] = []
  const port = await listen(t, (socket) => {
    socket.once('data', (request: Buffer) => {
      seen.push(request.toString().replaceAll(String(port), 'PORT'))
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
    })
  })
  const check = {
    ...OPEN,
    path: '/healthz?a=b',
    method: 'HEAD',
    headers: [['X-Probe', '1']],
  } as const
  for (const one of [start, startHttpProbe]) await probe(one, { ip, port, check })
  t.match(seen[0], /^HEAD \/healthz\?a=b HTTP\/1\.1\r\nHost: 127\.0\.0\.1:PORT\r\n/)
  t.equal(seen[0], seen[1])
})

t.test('tcp: a connect, which is closed with a reset', async (t) => {
  const ends: string[] = []
  const port = await listen(t, (socket) => {
    socket.on('error', ({ message }) => ends.push(message))
  })
  for (const one of [start, startTcpProbe]) {
    t.same(await probe(one, { ip, port }), { isHealthy: true, reason: 'connected' })
  }
  await new Promise((resolve) => setTimeout(resolve, 50))
  t.equal(ends.length, 2)
  t.same(await probe(start, { ip: '::1', port }), {
    isHealthy: false,
    reason: 'connection refused',
  })
})

t.test('many at once, some of which are cancelled', async (t) => {
  const port = await listen(t, () => undefined)
  const closed = await closedPort()
  const results = await Promise.all(
    Array.from({ length: 300 }, async (_, i) => {
      if (i % 3 !== 0) return probe(start, { ip, port: i % 3 === 1 ? port : closed })
      const running = start({ ip, port, protocol: 'TCP', check: healthCheck() }, () => {
        t.fail('a probe that was cancelled has told something')
      })
      return { isHealthy: false, reason: `cancelled: ${running.cancel()}` }
    }),
  )
  const counts: Record<string, number> = {}
  for (const { reason } of results) counts[reason] = (counts[reason] ?? 0) + 1
  t.same(counts, { connected: 100, 'connection refused': 100, 'cancelled: connection': 100 })
})

t.test('what it leaves to others', async (t) => {
  const bytes = Buffer.from('x')
  t.ok(quick.knows(healthCheck()))
  t.ok(quick.knows(healthCheck(OPEN)))
  t.notOk(quick.knows(healthCheck({ send: bytes })))
  t.notOk(quick.knows(healthCheck({ type: 'http', expectBytes: bytes })))
  t.notOk(quick.knows(healthCheck({ type: 'https' })))
})
