/**
 * Connecting from a socket that was opened with options Node does not have (openSocket: a
 * transparent source address, a mark). Node takes over the descriptor and everything else about
 * the connection is an ordinary net.Socket.
 */
import { Socket } from 'node:net'

import { closeSocket } from './socket.js'

export interface DialOptions {
  /** An address, never a name: nothing is looked up. Of the socket's family. */
  readonly host: string
  /** 1..65535 */
  readonly port: number
  /** As in net.createConnection; default false. */
  readonly allowHalfOpen?: boolean
  /** TCP_NODELAY; default false. */
  readonly noDelay?: boolean
}

/**
 * Starts connecting a TCP socket that openSocket made; `fd` belongs to the returned socket from the
 * call on, also when this throws. Failure to connect is an 'error' event (ECONNREFUSED,
 * ETIMEDOUT, EADDRNOTAVAIL when the source has no port left); destroy() gives up at any time.
 */
export function connectFromSocket(fd: number, options: DialOptions): Socket {
  const { host, port, allowHalfOpen = false, noDelay = false } = options
  let socket: Socket
  try {
    // With a descriptor given the constructor begins to read. That is harmless only because
    // connect() follows before the event loop polls: an unconnected TCP socket polls as hung up.
    socket = new Socket({ fd, readable: true, writable: true, allowHalfOpen })
  } catch (error) {
    closeSocket(fd)
    throw error
  }
  return socket.connect({ host, port, noDelay })
}
