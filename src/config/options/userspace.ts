/** Options: the userspace mode. */
import { row, RUN, type OptionRow } from '../option-row.js'
import { duration, integer, oneOf } from '../value-type.js'

const TCP = { section: 'Userspace mode: TCP', commands: RUN } as const
const UDP = { section: 'Userspace mode: UDP', commands: RUN } as const

export const USERSPACE_OPTIONS = {
  userspaceRelay: row('userspace-relay', oneOf(['splice', 'copy', 'node']), 'splice', {
    ...TCP,
    help: "what moves the bytes: splice and copy are a native thread, which leaves streams of bulk in the kernel (splice) or copies everything (copy); node is Node's own sockets",
  }),
  userspaceMaxPipes: row('userspace-max-pipes', integer(0, 100_000), '512', {
    ...TCP,
    help: 'pipes that splice may have open, of two descriptors and up to 256 KiB each; further streams are copied',
  }),
  connectAttempts: row('connect-attempts', integer(1, 10), '3', {
    ...TCP,
    help: 'endpoints tried for one connection of a client',
  }),
  connectTimeout: row('connect-timeout', duration('1ms', '1h'), '1s', {
    ...TCP,
    live: true,
    help: 'how long one endpoint may take to accept a connection',
  }),
  retryBudget: row('retry-budget', integer(0, 100), '20', {
    ...TCP,
    live: true,
    help: 'retries under way at once, in percent of the open connections',
  }),
  retryMinConcurrency: row('retry-min-concurrency', integer(0, 1_000_000), '100', {
    ...TCP,
    live: true,
    help: 'retries that are always allowed, whatever the budget: an endpoint that dies gives back all that waited in its accept queue at once',
  }),
  maxConnections: row('max-connections', integer(1, 10_000_000), '100000', {
    ...TCP,
    live: true,
    help: 'relayed connections at once; further ones are reset',
  }),
  tcpIdleTimeout: row('tcp-idle-timeout', duration('1s'), '24h', {
    ...TCP,
    live: true,
    help: 'a connection without a byte for this long is closed',
  }),
  tcpHalfCloseTimeout: row('tcp-half-close-timeout', duration('1s'), '1h', {
    ...TCP,
    live: true,
    help: 'the same for a connection that one side has closed',
  }),
  udpTimeout: row('udp-timeout', duration('1s'), '30s', {
    ...UDP,
    live: true,
    help: 'life of an idle session that has had no reply',
  }),
  udpStreamTimeout: row('udp-stream-timeout', duration('1s'), '120s', {
    ...UDP,
    live: true,
    help: 'life of an idle session that has had a reply',
  }),
  udpMaxSessions: row('udp-max-sessions', integer(1, 1_000_000), '16384', {
    ...UDP,
    help: 'sessions at once; the one idle longest makes room',
  }),
} as const satisfies Record<string, OptionRow>
