/** Options: the nfqueue mode. */
import { row, RUN, type OptionRow } from '../option-row.js'
import { integer, markMask, oneOf } from '../value-type.js'

const QUEUE = { section: 'Nfqueue mode', commands: RUN } as const

export const NFQUEUE_OPTIONS = {
  nfqueueFirst: row('nfqueue-first', integer(0, 65_000), '1075', {
    ...QUEUE,
    help: 'number of the first packet queue; no other program may use it or those after it',
  }),
  nfqueueCount: row('nfqueue-count', integer(1, 64), '2', {
    ...QUEUE,
    help: 'packet queues that first packets are spread over; one more takes retries',
  }),
  nfqueueLength: row('nfqueue-length', integer(1, 1_000_000), '4096', {
    ...QUEUE,
    help: 'packets that each queue holds; what comes beyond passes to the standby rules',
  }),
  nfqueueBuffer: row('nfqueue-buffer', integer(65_536, 536_870_912), '8388608', {
    ...QUEUE,
    help: 'receive buffer of the packet queues, in bytes',
  }),
  conntrackEventBuffer: row('conntrack-event-buffer', integer(65_536, 536_870_912), '8388608', {
    ...QUEUE,
    help: 'receive buffer for events of connection tracking, in bytes; an overrun costs a dump of the table',
  }),
  nfqueueFlows: row('nfqueue-flows', integer(64, 1_048_576), '16384', {
    ...QUEUE,
    help: 'new connections remembered so that they can be sent to another endpoint; the oldest makes room',
  }),
  nfqueueNice: row('nfqueue-nice', integer(-20, 19), '0', {
    ...QUEUE,
    help: 'nice value of the thread that decides about first packets; below 0, which takes CAP_SYS_NICE, new connections wait less on a node whose processors are busy',
  }),
  conntrackMarkMask: row('conntrack-mark-mask', markMask(), '0x3fffff00', {
    ...QUEUE,
    help: 'bits of the connection mark that hold the endpoint: 20 of them name a million endpoints, two are flags; others are never touched',
  }),
  nfqueueDnat: row('nfqueue-dnat', oneOf(['auto', 'nftables', 'iptables']), 'auto', {
    ...QUEUE,
    help: 'what turns a verdict into a translation: a map of nftables, or a rule of iptables for each endpoint, which is for small clusters; auto takes nftables where the kernel has its nat',
  }),
} as const satisfies Record<string, OptionRow>
