/**
 * Joins two connected TCP sockets: what one sends, the other gets.
 *
 * - Half-close: when one side has sent its last byte, the other side is told (FIN) once everything
 *   is delivered, and goes on sending.
 * - Back-pressure: a side that does not read stops the reads of the other; no more than two stream
 *   buffers wait in between.
 * - A reset on one side is a reset on the other.
 * - Bounds: no byte for `idleMs`, or for `halfClosedMs` once one side has ended, ends both.
 */
import type { Socket } from 'node:net'

export interface JoinTimeouts {
  readonly idleMs: number
  readonly halfClosedMs: number
}

/** `onClose` is called once, when both sockets are closed. Both must have allowHalfOpen. */
export function joinSockets(
  client: Socket,
  endpoint: Socket,
  timeouts: JoinTimeouts,
  onClose: () => void,
): void {
  let closed = 0
  const halfClosed = () => {
    client.setTimeout(timeouts.halfClosedMs)
    endpoint.setTimeout(timeouts.halfClosedMs)
  }
  for (const [socket, other] of [
    [client, endpoint],
    [endpoint, client],
  ] as const) {
    socket.on('error', () => {
      if (!other.destroyed) other.resetAndDestroy()
    })
    socket.once('end', halfClosed)
    socket.once('close', () => {
      const isComplete = socket.readableEnded && socket.writableFinished
      if (!isComplete && !other.destroyed) other.destroy()
      if (++closed === 2) onClose()
    })
    socket.on('timeout', () => {
      client.destroy()
      endpoint.destroy()
    })
  }
  // Every byte that is relayed, either way, is a read or a write of the client's socket.
  client.setTimeout(timeouts.idleMs)
  client.pipe(endpoint)
  endpoint.pipe(client)
}
