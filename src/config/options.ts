/**
 * THE table of options: one row each. The command line, its defaults and checks, `--help`, shell
 * completion and the documentation are made from it. A new option is a new row, and a field of
 * RunConfig in load.ts when `run` is to know it. kube-proxy's flags keep their names and defaults.
 */
import {
  bindAddress,
  duration,
  httpUrl,
  integer,
  markMask,
  nodeAddresses,
  oneOf,
  rangePair,
  switchType,
  text,
  type ValueType,
} from './value-type.js'

export const COMMAND_NAMES = [
  'run',
  'check',
  'status',
  'demo',
  'cleanup',
  'completion',
  'help',
] as const

export type CommandName = (typeof COMMAND_NAMES)[number]

/** Heading in `--help`; in this order there. */
export const SECTIONS = [
  'Objects and node',
  'Proxy',
  'Traffic policy',
  'Userspace mode: TCP',
  'Userspace mode: UDP',
  'Nfqueue mode',
  'HTTP endpoints',
  'Output',
] as const

export interface OptionRow<T = unknown> {
  /** Without the dashes. */
  readonly flag: string
  /** One letter: `-o`. */
  readonly short?: string
  readonly type: ValueType<T>
  /** As it would be written; undefined when there is none. */
  readonly default: string | undefined
  readonly section: (typeof SECTIONS)[number]
  readonly commands: readonly CommandName[]
  /** One sentence without a full stop; the default and the range are added to it. */
  readonly help: string
}

type Described<T> = Omit<OptionRow<T>, 'flag' | 'type' | 'default'>

/** A row whose value is always there. */
export interface DefaultedRow<T> extends OptionRow<T> {
  readonly default: string
}

/** A row whose value may be absent. */
export interface OptionalRow<T> extends OptionRow<T> {
  readonly default: undefined
}

function row<T>(
  flag: string,
  type: ValueType<T>,
  defaultText: string,
  described: Described<T>,
): DefaultedRow<T> {
  return { flag, type, default: defaultText, ...described }
}

function optional<T>(flag: string, type: ValueType<T>, described: Described<T>): OptionalRow<T> {
  return { flag, type, default: undefined, ...described }
}

const RUN = ['run'] as const
const NODE = { section: 'Objects and node', commands: RUN } as const
const PROXY = { section: 'Proxy', commands: RUN } as const
const TRAFFIC = { section: 'Traffic policy', commands: RUN } as const
const TCP = { section: 'Userspace mode: TCP', commands: RUN } as const
const UDP = { section: 'Userspace mode: UDP', commands: RUN } as const
const QUEUE = { section: 'Nfqueue mode', commands: RUN } as const
const HTTP = { section: 'HTTP endpoints', commands: RUN } as const
const STATUS = { section: 'Output', commands: ['status'] } as const

const NOT_HERE = 'is not in this version, which has the userspace and the nfqueue mode'
const NO_INTERFACES =
  'has no meaning in userspace mode, which sees the address of a client and not its interface'

export const OPTIONS = {
  manifests: optional('manifests', text('PATH'), {
    ...NODE,
    help: 'YAML or JSON file, or folder of them, with the Services, EndpointSlices and Nodes; watched for changes',
  }),
  hostnameOverride: optional('hostname-override', text('NODE'), {
    ...NODE,
    help: "name of this node, when it is not the host's name",
  }),
  clusterCidr: row('cluster-cidr', rangePair(), '', {
    ...NODE,
    help: 'addresses of the Pods of the cluster; traffic from elsewhere is masqueraded',
  }),
  detectLocalMode: row(
    'detect-local-mode',
    oneOf(['ClusterCIDR', 'NodeCIDR'], {
      BridgeInterface: NO_INTERFACES,
      InterfaceNamePrefix: NO_INTERFACES,
    }),
    'ClusterCIDR',
    { ...NODE, help: 'how traffic of local Pods is told from other traffic' },
  ),
  proxyMode: row(
    'proxy-mode',
    oneOf(['auto', 'userspace', 'nfqueue'], {
      iptables: NOT_HERE,
      ipvs: NOT_HERE,
      nftables: NOT_HERE,
    }),
    'auto',
    {
      ...PROXY,
      help: 'how connections are brought to endpoints: userspace relays every byte, nfqueue decides about the first packet and leaves the rest to the kernel; auto is userspace in this version',
    },
  ),
  userspaceCapture: row(
    'userspace-capture',
    oneOf(['auto', 'tproxy', 'anyip', 'redirect']),
    'auto',
    {
      ...PROXY,
      help: "how traffic to a Service reaches the relay: tproxy keeps the client's address, anyip needs no packet filter, redirect needs the nat table, ipset and conntrack; auto takes the first that works here",
    },
  ),
  tproxyMarkBit: row('tproxy-mark-bit', integer(0, 31), '13', {
    ...PROXY,
    help: 'bit of the packet mark that the tproxy capture uses on this node',
  }),
  syncPeriod: row('sync-period', duration('1s'), '30s', {
    ...PROXY,
    help: 'longest time between two syncs, and between two tries of one that fails; a change that waits twice as long makes the proxy unhealthy',
  }),
  minSyncPeriod: row('min-sync-period', duration('0s'), '0s', {
    ...PROXY,
    help: 'pause after a sync before the next one, however many changes there are',
  }),
  drainTimeout: row('drain-timeout', duration('0s'), '25s', {
    ...PROXY,
    help: 'how long a stop waits for open connections to end',
  }),
  masqueradeAll: row('masquerade-all', switchType(), 'false', {
    ...TRAFFIC,
    help: 'masquerade all traffic to cluster IPs',
  }),
  nodeportAddresses: row('nodeport-addresses', nodeAddresses(), '', {
    ...TRAFFIC,
    help: "node addresses that serve node ports; all of the node's without it",
  }),
  localhostNodePorts: row('iptables-localhost-nodeports', switchType(), 'true', {
    ...TRAFFIC,
    help: 'serve node ports on loopback addresses too',
  }),
  affinityMaxClients: row('affinity-max-clients', integer(1, 10_000_000), '65536', {
    ...TRAFFIC,
    help: 'clients remembered for session affinity, over all Services; the one seen longest ago makes room',
  }),
  connectAttempts: row('connect-attempts', integer(1, 10), '3', {
    ...TCP,
    help: 'endpoints tried for one connection of a client',
  }),
  connectTimeout: row('connect-timeout', duration('1ms', '1h'), '1s', {
    ...TCP,
    help: 'how long one endpoint may take to accept a connection',
  }),
  retryBudget: row('retry-budget', integer(0, 100), '20', {
    ...TCP,
    help: 'retries under way at once, in percent of the open connections',
  }),
  retryMinConcurrency: row('retry-min-concurrency', integer(0, 1_000_000), '10', {
    ...TCP,
    help: 'retries that are always allowed, whatever the budget',
  }),
  maxConnections: row('max-connections', integer(1, 10_000_000), '100000', {
    ...TCP,
    help: 'relayed connections at once; further ones are reset',
  }),
  tcpIdleTimeout: row('tcp-idle-timeout', duration('1s'), '24h', {
    ...TCP,
    help: 'a connection without a byte for this long is closed',
  }),
  tcpHalfCloseTimeout: row('tcp-half-close-timeout', duration('1s'), '1h', {
    ...TCP,
    help: 'the same for a connection that one side has closed',
  }),
  udpTimeout: row('udp-timeout', duration('1s'), '30s', {
    ...UDP,
    help: 'life of an idle session that has had no reply',
  }),
  udpStreamTimeout: row('udp-stream-timeout', duration('1s'), '120s', {
    ...UDP,
    help: 'life of an idle session that has had a reply',
  }),
  udpMaxSessions: row('udp-max-sessions', integer(1, 1_000_000), '16384', {
    ...UDP,
    help: 'sessions at once; the one idle longest makes room',
  }),
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
  conntrackMarkMask: row('conntrack-mark-mask', markMask(), '0x3fffff00', {
    ...QUEUE,
    help: 'bits of the connection mark that hold the endpoint: 20 of them name a million endpoints, two are flags; others are never touched',
  }),
  nfqueueDnat: row('nfqueue-dnat', oneOf(['auto', 'nftables', 'iptables']), 'auto', {
    ...QUEUE,
    help: 'what turns a verdict into a translation: a map of nftables, or a rule of iptables for each endpoint, which is for small clusters; auto takes nftables where the kernel has its nat',
  }),
  healthzBindAddress: row('healthz-bind-address', bindAddress(10_256), '0.0.0.0:10256', {
    ...HTTP,
    help: 'where /healthz and /livez are served; empty for nowhere',
  }),
  metricsBindAddress: row('metrics-bind-address', bindAddress(10_249), '127.0.0.1:10249', {
    ...HTTP,
    commands: ['run', 'status'],
    help: 'where /status, /configz and /proxyMode are served; empty for nowhere',
  }),
  bindAddressHardFail: row('bind-address-hard-fail', switchType(), 'false', {
    ...HTTP,
    help: 'exit when one of these addresses cannot be bound, in place of trying every 5 s',
  }),
  url: optional('url', httpUrl(), {
    ...STATUS,
    help: 'address of the proxy to ask, in place of --metrics-bind-address',
  }),
  output: row('output', oneOf(['table', 'json']), 'table', {
    ...STATUS,
    short: 'o',
    commands: ['status', 'check'],
    help: 'what to print',
  }),
  namespace: optional('namespace', text('NAMESPACE'), {
    ...STATUS,
    short: 'n',
    help: 'show the Services of one namespace',
  }),
  watch: row('watch', switchType(), 'false', {
    ...STATUS,
    short: 'w',
    help: 'show it again every second, with rates, until q or Ctrl-C',
  }),
  seconds: optional('seconds', integer(1, 86_400), {
    section: 'Output',
    commands: ['demo'],
    help: 'end by itself after this long',
  }),
  plain: row('plain', switchType(), 'false', {
    section: 'Output',
    commands: ['demo'],
    help: 'print lines as to a file, and do not redraw the terminal',
  }),
  logLevel: row('log-level', oneOf(['trace', 'debug', 'info', 'warn', 'error', 'silent']), 'info', {
    section: 'Output',
    commands: RUN,
    help: 'least important messages that are logged to standard error',
  }),
} as const satisfies Record<string, OptionRow>

export type OptionKey = keyof typeof OPTIONS

type ValueOf<R> =
  R extends DefaultedRow<infer T> ? T : R extends OptionalRow<infer T> ? T | undefined : never

/** A value for every row: given, else the default. */
export type OptionValues = { readonly [K in OptionKey]: ValueOf<(typeof OPTIONS)[K]> }

/** The rows that apply to a command, in the order of the table. */
export function optionsOf(command: CommandName): OptionRow[] {
  return Object.values<OptionRow>(OPTIONS).filter(({ commands }) => commands.includes(command))
}

/** Flags of kube-proxy, or of the design, that are not here: what to do without each. */
export const ABSENT_FLAGS: ReadonlyMap<string, string> = new Map([
  ['config', 'this version is configured by flags only'],
  ['kubeconfig', 'this version reads manifests only; use --manifests'],
  ['master', 'this version reads manifests only; use --manifests'],
  ['iptables-sync-period', 'it belongs to a mode that is not here; use --sync-period'],
  ['iptables-min-sync-period', 'it belongs to a mode that is not here; use --min-sync-period'],
  ['ipvs-sync-period', 'it belongs to a mode that is not here; use --sync-period'],
  ['ipvs-min-sync-period', 'it belongs to a mode that is not here; use --min-sync-period'],
  ['pod-bridge-interface', 'userspace mode does not look at interfaces; leave it out'],
  ['pod-interface-name-prefix', 'userspace mode does not look at interfaces; leave it out'],
  ['cleanup', 'it is a command here: kube-sluice cleanup'],
  ['bind-address', 'nothing is bound to it, in kube-proxy neither; leave it out'],
])
