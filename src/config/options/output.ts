/** Options: what the commands print, and remove. */
import { optional, row, RUN, type OptionRow } from '../option-row.js'
import { httpUrl, integer, oneOf, serviceNames, switchType, text } from '../value-type.js'

const STATUS = { section: 'Output', commands: ['status'] } as const
/** klog's levels: from 4 on it is for debugging, from 6 on every request is told. */
const VERBOSITY = {
  json: { type: 'integer', minimum: 0 },
  read: (verbosity: string): string => {
    if (!/^\d+$/.test(verbosity)) return verbosity
    if (Number(verbosity) < 4) return 'info'
    return Number(verbosity) < 6 ? 'debug' : 'trace'
  },
} as const

export const OUTPUT_OPTIONS = {
  url: optional('url', httpUrl(), {
    ...STATUS,
    commands: ['status', 'explain'],
    help: 'address of the proxy to ask, in place of --metrics-bind-address',
  }),
  output: row('output', oneOf(['table', 'json']), 'table', {
    ...STATUS,
    short: 'o',
    commands: ['status', 'explain', 'check'],
    help: 'what to print',
  }),
  namespace: optional('namespace', text('NAMESPACE'), {
    ...STATUS,
    short: 'n',
    help: 'show the Services of one namespace',
  }),
  sort: row(
    'sort',
    oneOf(['name', 'state', 'open', 'rate', 'total', 'failed', 'retries']),
    'name',
    {
      ...STATUS,
      help: 'order of the Services: by name, the ones with problems first, or by a column',
    },
  ),
  filter: optional('filter', text('TEXT'), {
    ...STATUS,
    help: 'show the Services in whose names, addresses, Pods, states or balancer this text is',
  }),
  watch: row('watch', switchType(), 'false', {
    ...STATUS,
    short: 'w',
    help: 'show it again every second, with rates, until q or Ctrl-C; on a terminal in place, with keys: ? shows them',
  }),
  packet: row('packet', switchType(), 'false', {
    section: 'Output',
    commands: ['explain'],
    help: 'follow the connections of the client that are open: the endpoint, state and mark of each in the connection-tracking table of this network namespace',
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
  kubeProxy: row('kube-proxy', switchType(), 'false', {
    section: 'Node set-up',
    commands: ['cleanup'],
    help: 'remove what kube-proxy has left, whichever mode it ran in, and nothing of this program, which may go on serving meanwhile',
  }),
  logConnections: row('log-connections', serviceNames(), '', {
    section: 'Output',
    commands: RUN,
    isRepeatable: true,
    help: 'log a line for each connection to these Services when it has ended: client, VIP, endpoint, attempts, outcome, duration, bytes where this process carries them; userspace and nfqueue mode',
  }),
  logConnectionsSample: row('log-connections-sample', integer(1, 100), '100', {
    section: 'Output',
    commands: RUN,
    help: 'percent of these connections that are logged, drawn at random',
  }),
  logConnectionsRate: row('log-connections-rate', integer(1, 10_000), '100', {
    section: 'Output',
    commands: RUN,
    help: 'such lines a second at most; further ones are counted as hits of this bound',
  }),
  logLevel: row('log-level', oneOf(['trace', 'debug', 'info', 'warn', 'error', 'silent']), 'info', {
    section: 'Output',
    commands: RUN,
    live: true,
    kubeProxy: [{ flag: 'v', short: 'v', field: 'logging.verbosity', ...VERBOSITY }],
    help: 'least important messages that are logged to standard error',
  }),
} as const satisfies Record<string, OptionRow>
