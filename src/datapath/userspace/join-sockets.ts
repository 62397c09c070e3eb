/**
 * Joins two connected TCP sockets: what one sends, the other gets.
 *
 * - Half-close: when one side has sent its last byte, the other side is told (FIN) once everything
 *   is delivered, and goes on sending.
 * - Back-pressure: a side that does not read stops the reads of the other; no more than two stream
 *   buffers wait in between.
 * - A reset on one side is a reset on the other; but an endpoint that resets before a byte went
 *   either way (its process died with the connection in the accept queue) is given back untouched.
 * - Bounds: no byte for `idleMs`, or for `halfClosedMs` once one side has ended, ends both.
 */
import type { Socket } from 'node:net'

export interface JoinTimeouts {
  readonly idleMs: number
  readonly halfClosedMs: number
}

/** By a FIN of each; by a reset of one, or cut; for want of bytes. */
export type JoinEnd = 'closed' | 'reset' | 'timed-out'

export interface JoinEvents {
  /** Both sockets are closed. */
  closed(end: JoinEnd): void
  /** The endpoint is gone, the client is as it was before: nothing read, nothing written. */
  untouched(): void
}

/** Exactly one of the events follows, once. Both sockets must have allowHalfOpen. */
export function joinSockets(
  client: Socket,
  endpoint: Socket,
  timeouts: JoinTimeouts,
  events: JoinEvents,
): void {
  let closed = 0
  let end: JoinEnd = 'closed'
  const listeners: (() => void)[] = []
  const on = (socket: Socket, event: string, listener: () => void) => {
    socket.on(event, listener)
    listeners.push(() => socket.off(event, listener))
  }
  const giveBack = () => {
    client.unpipe(endpoint)
    endpoint.unpipe(client)
    for (const off of listeners) off()
    client.setTimeout(0)
    client.pause()
    events.untouched()
  }
  const halfClosed = () => {
    client.setTimeout(timeouts.halfClosedMs)
    endpoint.setTimeout(timeouts.halfClosedMs)
  }
  for (const [socket, other] of [
    [client, endpoint],
    [endpoint, client],
  ] as const) {
    on(socket, 'error', () => {
      end = 'reset'
      const isUntouched = client.bytesRead === 0 && endpoint.bytesRead === 0
      if (socket === endpoint && isUntouched && !client.destroyed && !client.readableEnded) {
        giveBack()
      } else if (!other.destroyed) other.resetAndDestroy()
    })
    on(socket, 'end', halfClosed)
    on(socket, 'close', () => {
      const isComplete = socket.readableEnded && socket.writableFinished
      if (!isComplete && end === 'closed') end = 'reset'
      if (!isComplete && !other.destroyed) other.destroy()
      if (++closed === 2) events.closed(end)
    })
    on(socket, 'timeout', () => {
      end = 'timed-out'
      client.destroy()
      endpoint.destroy()
    })
  }
  // Every byte that is relayed, either way, is a read or a write of the client's socket.
  client.setTimeout(timeouts.idleMs)
  client.pipe(endpoint)
  endpoint.pipe(client)
}
