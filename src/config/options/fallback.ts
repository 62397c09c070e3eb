/** Options: when `auto` falls back to rules, and to which. */
import { FALLBACK_MODES } from '../../datapath/auto/fallback-ladder.js'
import { row, RUN, type OptionRow } from '../option-row.js'
import { duration, integer, oneOf, words } from '../value-type.js'

const FALLBACK = { section: 'Automatic switch', commands: RUN } as const

export const FALLBACK_OPTIONS = {
  decidingMode: row('deciding-mode', oneOf(['auto', 'nfqueue', 'userspace']), 'auto', {
    ...FALLBACK,
    help: 'mode that decides per connection, below all thresholds; auto is nfqueue where the kernel can, else userspace',
  }),
  fallbackModes: row('fallback-modes', words(FALLBACK_MODES), FALLBACK_MODES.join(','), {
    ...FALLBACK,
    help: 'modes of rules in order of preference: past a threshold the first that works here takes over',
  }),
  fallbackServicePorts: row('fallback-service-ports', integer(0, 10_000_000), '50000', {
    ...FALLBACK,
    help: 'Service ports (of each IP family) above which rules take over; 0 for no threshold',
  }),
  fallbackEndpoints: row('fallback-endpoints', integer(0, 10_000_000), '500000', {
    ...FALLBACK,
    help: 'the same for endpoints of Service ports',
  }),
  fallbackConnections: row('fallback-connections', integer(0, 10_000_000), '20000', {
    ...FALLBACK,
    help: 'the same for new connections a second',
  }),
  fallbackQueueDrops: row('fallback-queue-drops', integer(0, 10_000_000), '100', {
    ...FALLBACK,
    help: 'the same for first packets a second that find the queue full',
  }),
  fallbackVerdictShare: row('fallback-verdict-share', integer(0, 100), '80', {
    ...FALLBACK,
    help: 'the same for the percentage of a core that verdicts take; of the process in userspace mode',
  }),
  fallbackReturn: row('fallback-return', integer(1, 100), '80', {
    ...FALLBACK,
    help: 'percentage of its threshold that each load must be below for the return',
  }),
  fallbackHoldDown: row('fallback-hold-down', duration('0s'), '5m', {
    ...FALLBACK,
    help: 'for how long it must have been below before the return',
  }),
  fallbackSamplePeriod: row('fallback-sample-period', duration('100ms', '10m'), '5s', {
    ...FALLBACK,
    help: 'over what time load is measured',
  }),
} as const satisfies Record<string, OptionRow>
