import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import t, { type Test } from 'tap'
import type { HealthCheck } from '../../../../src/policy/health/health-check.js'
import { startHttpProbe, startHttpsProbe } from '../../../../src/policy/health/probe/http.js'
import { certificate } from '../../../fixtures/certificate.js'
import { probe } from '../../../fixtures/health.js'
import { closedPort, listen, listenOn } from '../../../fixtures/probe-server.js'

type Serve = (request: IncomingMessage, response: ServerResponse) => unknown

async function ask(t: Test, serve: Serve, check: Partial<HealthCheck> = {}) {
  const server = createServer(serve)
  const port = await listenOn(t, server, () => {
    server.closeAllConnections()
  })
  return probe(startHttpProbe, { ip: '127.0.0.1', port, check: { type: 'http', ...check } })
}

t.test('the request is the one that was set', async (t) => {
  let seen: IncomingMessage | undefined
  const serve: Serve = (request, response) => {
    seen = request
    response.end('fine')
  }
  t.same(await ask(t, serve), { isHealthy: true, reason: 'HTTP 200' })
  t.match(seen, { method: 'GET', url: '/', headers: { host: /^127\.0\.0\.1:\d+$/ } })
  await ask(t, serve, {
    path: '/healthz?a=b',
    host: 'shop.example',
    method: 'HEAD',
    headers: [['X-Probe', '1']],
  })
  t.match(seen, {
    method: 'HEAD',
    url: '/healthz?a=b',
    headers: { host: 'shop.example', 'x-probe': '1', 'user-agent': 'kube-sluice-probe' },
  })
})

t.test('the status decides: 200 to 399, or what is expected', async (t) => {
  const status =
    (code: number): Serve =>
    (_request, response) =>
      response.writeHead(code).end()
  for (const [code, isHealthy] of [
    [200, true],
    [204, true],
    [302, true],
    [404, false],
    [503, false],
  ] as const) {
    t.match(await ask(t, status(code)), { isHealthy, reason: `HTTP ${code}` })
  }
  const expectStatus = [{ from: 401, to: 401 }]
  t.match(await ask(t, status(401), { expectStatus }), { isHealthy: true })
  t.match(await ask(t, status(200), { expectStatus }), { isHealthy: false })
})

t.test('the body decides, where something is expected in it', async (t) => {
  const expectBytes = Buffer.from('all is well')
  const inPieces: Serve = async (_request, response) => {
    response.write('x'.repeat(30_000) + 'all is')
    await new Promise((resolve) => setTimeout(resolve, 20))
    response.end(' well')
  }
  t.match(await ask(t, inPieces, { expectBytes }), { isHealthy: true })
  t.match(await ask(t, (_request, response) => response.end('all is lost'), { expectBytes }), {
    isHealthy: false,
    reason: 'the expected text is not in the body',
  })
  const huge: Serve = (_request, response) => {
    response.end(Buffer.alloc(10_000_000, 'x'))
  }
  t.match(await ask(t, huge, { expectBytes }), { isHealthy: false, reason: /first 65536 bytes/ })
  t.match(await ask(t, huge), { isHealthy: true })
})

t.test('endpoints that misbehave', async (t) => {
  const port = await closedPort()
  t.match(await probe(startHttpProbe, { ip: '127.0.0.1', port, check: { type: 'http' } }), {
    isHealthy: false,
    reason: 'connection refused',
  })
  const cases: [string, Parameters<typeof listen>[1], RegExp][] = [
    ['says nothing', () => undefined, /^timeout: HTTP answer/],
    ['answers garbage', (socket) => socket.end('\x00\x01\x02 no http\r\n\r\n'), /is not HTTP/],
    ['resets', (socket) => socket.resetAndDestroy(), /connection reset/],
    ['ends at once', (socket) => socket.end(), /socket hang up|connection reset/],
    [
      'a byte every 50 ms',
      (socket) => {
        const timer = setInterval(() => socket.write('H'), 50)
        socket.once('close', () => {
          clearInterval(timer)
        })
      },
      /^timeout: HTTP answer|is not HTTP/,
    ],
    [
      'headers without end',
      (socket) => {
        socket.write(`HTTP/1.1 200 OK\r\n${'X-Y: z\r\n'.repeat(20_000)}`)
      },
      /is not HTTP/,
    ],
  ]
  for (const [name, serve, reason] of cases) {
    const at = await listen(t, serve)
    const check = { type: 'http' } as const
    const result = await probe(startHttpProbe, { ip: '127.0.0.1', port: at, check }, 400)
    t.match(result, { isHealthy: false, reason }, name)
  }
})

t.test('https: any certificate will do, one that ends soon is warned of', async (t) => {
  const names: (string | false | undefined)[] = []
  const ask = async (days: number, check: Partial<HealthCheck> = {}) => {
    const server = createTlsServer({ ...certificate(days) }, (request, response) => {
      names.push((request.socket as { servername?: string | false }).servername)
      response.end('fine')
    })
    const port = await listenOn(t, server, () => {
      server.closeAllConnections()
    })
    const target = { ip: '127.0.0.1', port, check: { type: 'https', ...check } as const }
    return probe(startHttpsProbe, target)
  }
  const good = await ask(30, { host: 'shop.example:443' })
  t.same(good, { isHealthy: true, reason: 'HTTP 200' })
  t.equal(names[0], 'shop.example')
  t.match(await ask(3), { isHealthy: true, warning: /expires in [23] days/ })
  t.notMatch(await ask(3, { expiryWarningMs: 1000 }), { warning: String })
  const plain = await listen(t, (socket) => socket.write('220 no tls here\r\n'))
  const target = { ip: '127.0.0.1', port: plain, check: { type: 'https' } as const }
  t.match(await probe(startHttpsProbe, target), {
    isHealthy: false,
    reason: /wrong version|packet/i,
  })
})
