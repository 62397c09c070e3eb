/** Options: the HTTP endpoints. */
import { row, RUN, type OptionRow } from '../option-row.js'
import { bindAddress, switchType } from '../value-type.js'

const HTTP = { section: 'HTTP endpoints', commands: RUN } as const

export const HTTP_OPTIONS = {
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
} as const satisfies Record<string, OptionRow>
