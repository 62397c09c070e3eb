/** TCP listeners of Node's own. */
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { fileDescriptorOf, openSocket, originalDestination } from '../../kernel/socket.js'
import { SluiceError } from '../../lib/errors.js'
import type { IpFamily } from '../../lib/ip-address.js'
import { KEEP_ALIVE_AFTER_MS } from './endpoint-sockets.js'
import {
  BACKLOG,
  refilter,
  socketFor,
  type ListenAddress,
  type VipListener,
} from './vip-listener.js'
import type { PlannedVip } from './vip-plan.js'

/** A TCP listener bound to its VIP. */
export class VipNetListener implements VipListener {
  readonly #server: Server
  #vip: PlannedVip
  #local: ListenAddress | undefined

  constructor(vip: PlannedVip, onConnection: (client: Socket) => void) {
    this.#vip = vip
    this.#server = newServer(onConnection)
  }

  get local(): ListenAddress | undefined {
    return this.#local
  }

  async open(): Promise<void> {
    const fd = openSocket({ ...socketFor(this.#vip), type: 'tcp' })
    await listen(this.#server, fd)
    this.#local = { address: this.#vip.address, port: this.#vip.port }
  }

  setVip(vip: PlannedVip): void {
    const before = this.#vip
    this.#vip = vip
    refilter(this.#server, before, vip)
  }

  async close(): Promise<void> {
    await closeServer(this.#server)
  }
}

/** The one TCP listener of a family that nat REDIRECT leads to. */
export class RedirectNetListener {
  readonly #family: IpFamily
  readonly #server: Server
  #local: ListenAddress | undefined

  constructor(
    family: IpFamily,
    onConnection: (client: Socket, destination: ListenAddress) => void,
  ) {
    this.#family = family
    this.#server = newServer((client) => {
      const fd = fileDescriptorOf(client)
      const destination = fd === undefined ? undefined : originalDestination(fd, family)
      // Not redirected: somebody found the port by himself.
      if (destination === undefined) client.resetAndDestroy()
      else onConnection(client, destination)
    })
  }

  get local(): ListenAddress | undefined {
    return this.#local
  }

  async open(): Promise<void> {
    const address = this.#family === 'IPv4' ? '0.0.0.0' : '::'
    const fd = openSocket({ type: 'tcp', family: this.#family, bind: { address, port: 0 } })
    await listen(this.#server, fd)
    const bound = this.#server.address()
    if (bound === null || typeof bound === 'string') {
      throw new SluiceError(
        'ERR_LISTEN',
        'redirect listener: the kernel gave it no port; try again',
      )
    }
    this.#local = { address, port: bound.port }
  }

  async close(): Promise<void> {
    await closeServer(this.#server)
  }
}

function newServer(onConnection: (client: Socket) => void): Server {
  return createServer(
    {
      allowHalfOpen: true,
      pauseOnConnect: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_AFTER_MS,
    },
    onConnection,
  )
}

async function listen(server: Server, fd: number): Promise<void> {
  const listening = once(server, 'listening')
  server.listen({ fd, backlog: BACKLOG })
  await listening
  // From here on: an accept that failed (out of descriptors); libuv tries again.
  server.on('error', ignore)
}

/** Stops listening at once; does not wait for the connections that it accepted. */
async function closeServer(server: Server): Promise<void> {
  if (!server.listening) return
  await new Promise<void>((resolve) => {
    // server.close() calls back only when the last connection has ended, which is not our business.
    server.close()
    setImmediate(resolve)
  })
}

function ignore(): void {
  // nothing to do
}
