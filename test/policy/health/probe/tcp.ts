import t from 'tap'
import { startTcpProbe } from '../../../../src/policy/health/probe/tcp.js'
import { closedPort, listen } from '../../../fixtures/probe-server.js'
import { probe } from '../../../fixtures/health.js'

const expectBytes = Buffer.from('PONG')
const send = Buffer.from('PING\r\n')

t.test('a connect is enough', async (t) => {
  const port = await listen(t, () => undefined)
  t.same(await probe(startTcpProbe, { ip: '127.0.0.1', port }), {
    isHealthy: true,
    reason: 'connected',
  })
})

t.test('nobody listens', async (t) => {
  const port = await closedPort()
  t.match(await probe(startTcpProbe, { ip: '127.0.0.1', port }), {
    isHealthy: false,
    reason: 'connection refused',
  })
})

t.test('send and expect: the answer may come in pieces, and with more around it', async (t) => {
  const port = await listen(t, (socket) => {
    socket.on('data', () => {
      for (const [index, byte] of 'hello PONG!'.split('').entries()) {
        setTimeout(() => socket.write(byte), index * 5)
      }
    })
  })
  const check = { send, expectBytes }
  t.match(await probe(startTcpProbe, { ip: '127.0.0.1', port, check }), { isHealthy: true })
})

t.test('send alone: any answer will do', async (t) => {
  const port = await listen(t, (socket) => socket.on('data', () => socket.write('?')))
  t.match(await probe(startTcpProbe, { ip: '127.0.0.1', port, check: { send } }), {
    isHealthy: true,
    reason: 'answered',
  })
})

t.test('endpoints that misbehave', async (t) => {
  const check = { send, expectBytes }
  const cases: [string, Parameters<typeof listen>[1], RegExp][] = [
    ['says nothing', () => undefined, /^timeout: expected answer/],
    ['says something else, and ends', (socket) => socket.end('GET away'), /another answer: "GET/],
    ['ends at once', (socket) => socket.end(), /closed the connection before/],
    ['resets', (socket) => socket.resetAndDestroy(), /connection reset/],
    ['never stops', (socket) => socket.write(Buffer.alloc(200_000, 'x')), /more than 65536 bytes/],
  ]
  for (const [name, serve, reason] of cases) {
    const port = await listen(t, serve)
    const result = await probe(startTcpProbe, { ip: '127.0.0.1', port, check }, 300)
    t.match(result, { isHealthy: false, reason }, name)
  }
})
