/** Options: what is set on the node at the start. */
import { row, RUN, type OptionRow } from '../option-row.js'
import { duration, integer, switchType, text } from '../value-type.js'

/** Seconds of a sysctl are an int. */
const MAX_SYSCTL = '596523h'

const SETUP = { section: 'Node set-up', commands: RUN } as const

export const NODE_SETUP_OPTIONS = {
  initOnly: row('init-only', switchType(), 'false', {
    ...SETUP,
    inFile: false,
    help: 'do what this section says, which takes privileges, and exit',
  }),
  conntrackMaxPerCore: row('conntrack-max-per-core', integer(0, 2 ** 31 - 1), '32768', {
    ...SETUP,
    help: 'entries of connection tracking for each core, together at most 1048576; 0 leaves the limit as it is',
    kubeProxy: [{ field: 'conntrack.maxPerCore', zeroCounts: true }],
  }),
  conntrackMin: row('conntrack-min', integer(0, 2 ** 31 - 1), '131072', {
    ...SETUP,
    help: 'entries of connection tracking at least, however few the cores',
    kubeProxy: [{ field: 'conntrack.min', zeroCounts: true }],
  }),
  conntrackTcpTimeoutEstablished: row(
    'conntrack-tcp-timeout-established',
    duration('0s', MAX_SYSCTL),
    '24h',
    {
      ...SETUP,
      help: 'how long the kernel keeps an idle established TCP connection; 0s leaves it as it is',
      kubeProxy: [{ field: 'conntrack.tcpEstablishedTimeout', zeroCounts: true }],
    },
  ),
  conntrackTcpTimeoutCloseWait: row(
    'conntrack-tcp-timeout-close-wait',
    duration('0s', MAX_SYSCTL),
    '1h',
    {
      ...SETUP,
      help: 'the same for one that waits for this side to close; 0s leaves it as it is',
      kubeProxy: [{ field: 'conntrack.tcpCloseWaitTimeout', zeroCounts: true }],
    },
  ),
  conntrackTcpBeLiberal: row('conntrack-tcp-be-liberal', switchType(), 'false', {
    ...SETUP,
    help: 'let connection tracking take TCP packets outside the window; false leaves it as it is',
    kubeProxy: [{ field: 'conntrack.tcpBeLiberal' }],
  }),
  conntrackUdpTimeout: row('conntrack-udp-timeout', duration('0s', MAX_SYSCTL), '0s', {
    ...SETUP,
    help: 'how long the kernel keeps a UDP flow without a reply; 0s leaves it as it is',
    kubeProxy: [{ field: 'conntrack.udpTimeout' }],
  }),
  conntrackUdpTimeoutStream: row('conntrack-udp-timeout-stream', duration('0s', MAX_SYSCTL), '0s', {
    ...SETUP,
    help: 'the same for a UDP flow with replies; 0s leaves it as it is',
    kubeProxy: [{ field: 'conntrack.udpStreamTimeout' }],
  }),
  oomScoreAdj: row('oom-score-adj', integer(-1000, 1000), '-999', {
    ...SETUP,
    help: 'how ready the kernel is to kill this process when memory runs out',
    kubeProxy: [{ field: 'oomScoreAdj', zeroCounts: true }],
  }),
  sysctlRoot: row('sysctl-root', text('PATH'), '/proc/sys', {
    ...SETUP,
    help: "where the node's kernel parameters can be written: in a container, a mount of its /proc/sys/net",
  }),
} as const satisfies Record<string, OptionRow>
