/** What a TCP connection through the relay can rely on, and what the relay does under load. */
import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import t from 'tap'
import type { Agent } from '../fixtures/agent.js'
import { rootOnly, service, slice, startCluster } from '../fixtures/test-cluster.js'

for (const relay of ['splice', 'node'] as const) {
  t.test(`connections through the ${relay} relay`, { skip: rootOnly }, async (t) => {
    const cluster = await startCluster(3)
    t.teardown(() => cluster.close())
    const { client, pods } = cluster
    const ips = [1, 2, 3].map((pod) => cluster.podIp(pod))
    cluster.write([
      service('web', { clusterIP: '10.96.0.10' }),
      slice('web', ips),
      service('one', { clusterIP: '10.96.0.11' }),
      slice('one', [ips[0]!], { port: 8081, protocol: 'TCP' }),
      service('source', { clusterIP: '10.96.0.12' }),
      slice('source', [ips[0]!], { port: 8082, protocol: 'TCP' }),
      service('kill', { clusterIP: '10.96.0.13' }),
      slice('kill', ips, { port: 8083, protocol: 'TCP' }),
    ])
    for (const [index, pod] of pods.entries()) await serve(pod, `pod-${index + 1}`)
    const proxy = await cluster.startProxy(
      ...['--userspace-capture', 'anyip', '--userspace-relay', relay],
    )
    t.teardown(() => proxy.stop('SIGKILL'))

    await t.test(
      'half-close: the answer comes after the client has said its last word',
      async (t) => {
        const answer = await client.run(
          async ({ net }) =>
            new Promise<string>((resolve, reject) => {
              const socket = net.connect({ host: '10.96.0.11', port: 80, allowHalfOpen: true })
              let text = ''
              socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
              socket.on('end', () => {
                resolve(text)
              })
              socket.on('error', reject)
              // The server counts what it gets and answers when it sees the end.
              socket.end(Buffer.alloc(100_000))
            }),
          undefined,
        )
        t.equal(answer, '100000 bytes')
      },
    )

    await t.test('a slow reader does not fill the memory of the relay', async (t) => {
      const rssBytes = () => {
        const status = readFileSync(`/proc/${proxy.child.pid}/status`, 'utf8')
        return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024
      }
      const before = rssBytes()
      // The source has 256 MiB to give; the client reads nothing for a while, then everything.
      await client.run(async ({ net, once, state }) => {
        const socket = net.connect({ host: '10.96.0.12', port: 80 })
        await once(socket, 'connect')
        socket.pause()
        state['slow'] = socket
      }, undefined)
      await proxy.until('the stall is reached', () => true)
      await new Promise((resolve) => setTimeout(resolve, 1500))
      t.ok(rssBytes() - before < 64 * 1024 * 1024, `${before} -> ${rssBytes()}`)
      const total = await client.run(async ({ once, state }) => {
        const socket = state['slow'] as Socket
        let bytes = 0
        socket.on('data', (chunk: Buffer) => (bytes += chunk.length))
        socket.resume()
        await once(socket, 'end')
        return bytes
      }, undefined)
      t.equal(total, 256 * 1024 * 1024)
      t.ok(rssBytes() - before < 96 * 1024 * 1024, `${before} -> ${rssBytes()}`)
    })

    await t.test('5,000 connections at once', async (t) => {
      const { open, answers } = await client.run(async ({ net, once, state }) => {
        const sockets: Socket[] = []
        state['many'] = sockets
        for (let batch = 0; batch < 50; batch++) {
          const opened = Array.from({ length: 100 }, () => {
            const socket = net.connect({ host: '10.96.0.10', port: 80 })
            sockets.push(socket)
            return once(socket, 'connect')
          })
          await Promise.all(opened)
        }
        // All are open: each still gets its answer.
        let answers = 0
        await Promise.all(
          sockets.map(async (socket) => {
            const data = once(socket, 'data')
            socket.write('ping')
            if (String((await data)[0]) === 'ping') answers++
          }),
        )
        return { open: sockets.length, answers }
      }, undefined)
      t.equal(open, 5000)
      t.equal(answers, 5000)
      const { totals } = await proxy.status()
      t.ok(totals.activeConnections >= 5000)
      t.equal(totals.failedConnections, 0)
      await client.run(async ({ state }) => {
        for (const socket of state['many'] as Socket[]) socket.destroy()
      }, undefined)
      await proxy.until('all have ended', ({ totals }) => totals.activeConnections === 0)
    })

    await t.test(
      'an endpoint that hangs and is SIGKILLed during load costs no request',
      async (t) => {
        const load = client.run(async ({ net }) => {
          const failures: string[] = []
          let requests = 0
          let isOver = false
          setTimeout(() => (isOver = true), 3000)
          const one = () =>
            new Promise<void>((resolve) => {
              const socket = net.connect({ host: '10.96.0.13', port: 80 })
              let text = ''
              socket.setTimeout(8000, () => socket.destroy(new Error('time-out')))
              socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
              let reason = 'empty'
              socket.on('error', (error: Error) => (reason = error.message))
              socket.on('close', () => {
                requests++
                if (text === '') failures.push(reason)
                resolve()
              })
            })
          const worker = async () => {
            while (!isOver) await one()
          }
          await Promise.all(Array.from({ length: 48 }, worker))
          return { requests, failures }
        }, undefined)
        await new Promise((resolve) => setTimeout(resolve, 500))
        // Connections gather in the accept queue of a pod that hangs, and all come back when it dies.
        pods[1]!.kill('SIGSTOP')
        await new Promise((resolve) => setTimeout(resolve, 1000))
        pods[1]!.kill('SIGKILL')
        const { requests, failures } = await load
        t.strictSame(failures, [])
        t.ok(requests > 100, `${requests} requests`)
        const { services } = await proxy.status()
        t.ok(services.find(({ name }) => name === 'test/kill')!.retries > 0)
      },
    )

    await t.test(
      'an edited manifest sends new connections elsewhere, old ones go on',
      async (t) => {
        await client.run(async ({ net, once, state }) => {
          const socket = net.connect({ host: '10.96.0.11', port: 80, allowHalfOpen: true })
          await once(socket, 'connect')
          socket.write('first')
          state['old'] = socket
        }, undefined)
        cluster.write([
          service('one', { clusterIP: '10.96.0.11' }),
          slice('one', [ips[2]!], { port: 8083, protocol: 'TCP' }),
        ])
        await proxy.until('the others are gone', ({ services }) => services.length === 1)
        const answers = await client.run(async ({ net, once, state }) => {
          const fresh = net.connect({ host: '10.96.0.11', port: 80 })
          const [text] = (await once(fresh, 'data')) as [Buffer]
          const old = state['old'] as Socket
          const answer = once(old, 'data') as Promise<[Buffer]>
          old.end('second')
          return [String(text), String((await answer)[0])]
        }, undefined)
        t.strictSame(answers, ['pod-3', '11 bytes'])
      },
    )

    await t.test('a removed Service refuses, its connections drain', async (t) => {
      await client.run(async ({ net, once, state }) => {
        const socket = net.connect({ host: '10.96.0.11', port: 80 })
        await once(socket, 'data')
        state['last'] = socket
      }, undefined)
      cluster.write([])
      await proxy.until('nothing is left', ({ services }) => services.length === 0)
      const outcome = await client.run(
        async ({ net }) =>
          new Promise<string>((resolve) => {
            const socket = net.connect({ host: '10.96.0.10', port: 80 })
            const timer = setTimeout(() => {
              socket.destroy()
              resolve('time-out')
            }, 1000)
            socket.on('connect', () => {
              resolve('connected')
            })
            socket.on('error', (error: NodeJS.ErrnoException) => {
              clearTimeout(timer)
              resolve(error.code ?? '')
            })
          }),
        undefined,
      )
      // No route leads there any more: it is the uplink's business, and nobody answers for it.
      t.not(outcome, 'connected')
    })
  })
}

/** An echo on 8080, a counter on 8081, a source of 256 MiB on 8082, the pod's name on 8083. */
function serve(agent: Agent, name: string): Promise<void> {
  return agent.run(
    async ({ net, once, state }, args) => {
      const ignore = () => undefined
      const echo = net.createServer((socket) => {
        socket.on('error', ignore)
        socket.pipe(socket)
      })
      const counter = net.createServer({ allowHalfOpen: true }, (socket) => {
        let bytes = 0
        socket.on('error', ignore)
        socket.on('data', (chunk: Buffer) => (bytes += chunk.length))
        socket.on('end', () => socket.end(`${bytes} bytes`))
      })
      const source = net.createServer((socket) => {
        let left = 256
        const chunk = Buffer.alloc(1024 * 1024)
        socket.on('error', ignore)
        const give = () => {
          while (left > 0) {
            left--
            if (!socket.write(chunk)) {
              socket.once('drain', give)
              return
            }
          }
          socket.end()
        }
        give()
      })
      const named = net.createServer((socket) => {
        socket.on('error', ignore)
        socket.end(args.name)
      })
      const servers = { 8080: echo, 8081: counter, 8082: source, 8083: named }
      for (const [port, server] of Object.entries(servers)) {
        server.listen({ host: '0.0.0.0', port: Number(port), backlog: 4096 })
        await once(server, 'listening')
      }
      state['servers'] = servers
    },
    { name },
  )
}
