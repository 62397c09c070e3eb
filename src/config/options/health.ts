/** Options: health checks, where a Service says nothing of its own (docs/health-checks.md). */
import { optional, row, RUN, type OptionRow } from '../option-row.js'
import { duration, integer, percentage, oneOf, text } from '../value-type.js'

const HEALTH = { section: 'Health checks', commands: RUN, live: true } as const

export const HEALTH_OPTIONS = {
  defaultHealthCheck: row(
    'default-health-check',
    oneOf(['passive', 'none', 'tcp', 'auto']),
    'passive',
    {
      ...HEALTH,
      help: 'check of Services without the annotation kube-sluice.io/health-check: passive learns from the connections of clients, tcp connects, auto takes what appProtocol or the name of the port suggests',
    },
  ),
  healthCheckInterval: row('health-check-interval', duration('100ms', '24h'), '10s', {
    ...HEALTH,
    help: 'time between two probes of an endpoint',
  }),
  healthCheckTimeout: optional('health-check-timeout', duration('10ms', '5m'), {
    ...HEALTH,
    help: 'how long a probe may take; half of the interval and at most 1s without it',
  }),
  healthCheckFastInterval: optional('health-check-fast-interval', duration('100ms', '24h'), {
    ...HEALTH,
    help: 'the interval while an endpoint is on its way up or down; half of the interval and at most 1s without it',
  }),
  healthCheckDownInterval: optional('health-check-down-interval', duration('100ms', '24h'), {
    ...HEALTH,
    help: 'the interval while an endpoint is down; the interval without it',
  }),
  healthCheckJitter: row('health-check-jitter', integer(0, 100), '10', {
    ...HEALTH,
    help: 'share of the interval, in percent, by which probes come at random sooner or later',
  }),
  healthCheckRise: row('health-check-rise', integer(1, 100), '2', {
    ...HEALTH,
    help: 'probes in a row that have to succeed for an endpoint to come up',
  }),
  healthCheckFall: row('health-check-fall', integer(1, 100), '3', {
    ...HEALTH,
    help: 'probes in a row that have to fail for an endpoint to go down',
  }),
  healthCheckInitialState: row(
    'health-check-initial-state',
    oneOf(['up', 'down', 'fully-up', 'fully-down']),
    'up',
    {
      ...HEALTH,
      help: 'how a new endpoint begins: up until its first failure, down until its first success, or with all of fall and rise ahead of it',
    },
  ),
  healthCheckConcurrency: row('health-check-concurrency', integer(1, 65_536), '1024', {
    ...HEALTH,
    help: 'probes under way at once; more wait for one to end',
  }),
  healthCheckScope: row('health-check-scope', oneOf(['all', 'traffic']), 'all', {
    ...HEALTH,
    help: 'which endpoints this node probes: all, or those of Service ports that connections were made to through it within five minutes, and the share of --health-check-share of the others; modes made of rules see no connections and probe all',
  }),
  healthCheckShare: row('health-check-share', percentage(), '0', {
    ...HEALTH,
    help: 'with --health-check-scope traffic: share, in percent, of the endpoints of other Service ports that this node probes; each node has another share; 0.1 of 5,000 nodes are five for each endpoint',
  }),
  healthPanicThreshold: row('health-panic-threshold', integer(0, 100), '50', {
    ...HEALTH,
    help: 'share of healthy endpoints, in percent, below which the health of a Service is ignored; 0: only when none is left',
  }),
  connectPatience: row('connect-patience', duration('0s', '1m'), '300ms', {
    ...HEALTH,
    help: 'an endpoint that has answered connects and now leaves one unanswered for this long, and for four times what it has taken lately, is passed over, and another one tried; 0s: only --connect-timeout counts, or a client that repeats its SYN',
  }),
  ejectionTime: row('ejection-time', duration('10ms', '1h'), '1s', {
    ...HEALTH,
    help: 'how long an endpoint that does not take a connection is passed over; doubled with each further failure',
  }),
  ejectionMaxTime: row('ejection-max-time', duration('10ms', '24h'), '30s', {
    ...HEALTH,
    help: 'longest time for which it is passed over before a connection tries it again',
  }),
  ejectionMaxPercent: row('ejection-max-percent', integer(0, 100), '50', {
    ...HEALTH,
    help: 'share of the endpoints of a Service, in percent, that may be passed over; at least one of two, and none with 0',
  }),
  healthCheckExecDir: optional('health-check-exec-dir', text('FOLDER'), {
    ...HEALTH,
    help: 'folder with the programs that health checks of type exec may run; no such checks without it',
  }),
} as const satisfies Record<string, OptionRow>
