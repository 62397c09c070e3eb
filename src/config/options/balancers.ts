/** Options: which endpoint a new connection goes to. */
import { BALANCER_NAMES } from '../../policy/balancer/registry.js'
import { row, RUN, type OptionRow } from '../option-row.js'
import { oneOf } from '../value-type.js'

const BALANCERS = { section: 'Balancers', commands: RUN } as const

export const BALANCER_OPTIONS = {
  defaultBalancer: row('default-balancer', oneOf(BALANCER_NAMES), 'round-robin', {
    ...BALANCERS,
    help: 'how endpoints are chosen for Services without the annotation kube-sluice.io/balancer',
  }),
} as const satisfies Record<string, OptionRow>
