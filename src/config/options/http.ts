/** Options: the HTTP endpoints. */
import { row, RUN, type OptionRow } from '../option-row.js'
import { bindAddress, hostNames, integer, switchType } from '../value-type.js'

const HTTP = { section: 'HTTP endpoints', commands: RUN } as const
const PORT_FLAG = 'kube-proxy will drop it'

/** kube-proxy's deprecated port flags: 0 switches the server off. */
function portOnly(address: string): (text: string) => string {
  return (port) => (port === '0' ? '' : `${address}:${port}`)
}

export const HTTP_OPTIONS = {
  healthzBindAddress: row('healthz-bind-address', bindAddress(10_256), '0.0.0.0:10256', {
    ...HTTP,
    help: 'where /healthz and /livez are served; empty for nowhere',
    defaultIPv6: '[::]:10256',
    kubeProxy: [
      { field: 'healthzBindAddress' },
      { flag: 'healthz-port', read: portOnly('0.0.0.0'), deprecated: PORT_FLAG },
    ],
  }),
  metricsBindAddress: row('metrics-bind-address', bindAddress(10_249), '127.0.0.1:10249', {
    ...HTTP,
    commands: ['run', 'status'],
    help: 'where /metrics, /status, /configz and /proxyMode are served; empty for nowhere',
    defaultIPv6: '[::1]:10249',
    kubeProxy: [
      { field: 'metricsBindAddress' },
      { flag: 'metrics-port', read: portOnly('127.0.0.1'), deprecated: PORT_FLAG },
    ],
  }),
  metricsAllowedHosts: row('metrics-allowed-hosts', hostNames(), '', {
    ...HTTP,
    isRepeatable: true,
    help: 'names by which browsers and others may call the metrics address, besides addresses and names of loopback; without any, every name is taken at an address that is not loopback',
  }),
  metricsPerEndpoint: row('metrics-per-endpoint', integer(0, 1_000_000), '1000', {
    ...HTTP,
    live: true,
    help: 'endpoints that have metrics of their own; 0 for none',
  }),
  metricsPerServicePort: row('metrics-per-service-port', integer(0, 1_000_000), '10000', {
    ...HTTP,
    live: true,
    help: 'Service ports that have metrics of their own; 0 for none',
  }),
  profiling: row('profiling', switchType(), 'false', {
    ...HTTP,
    help: 'serve /debug/memory (?collect: after a garbage collection) and /debug/handles on the metrics address too',
    kubeProxy: [{ field: 'enableProfiling' }],
  }),
  bindAddressHardFail: row('bind-address-hard-fail', switchType(), 'false', {
    ...HTTP,
    help: 'exit when one of these addresses cannot be bound, in place of trying every 5 s',
    kubeProxy: [{ field: 'bindAddressHardFail' }],
  }),
} as const satisfies Record<string, OptionRow>
