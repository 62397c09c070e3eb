/** Options: which endpoint a new connection goes to. */
import {
  HASH_BALANCE_FACTOR,
  MAGLEV_TABLE_SIZE,
  PEAK_EWMA_DECAY,
  SLOW_START,
  SLOW_START_FLOOR,
} from '../../policy/balancer/parameters.js'
import { BALANCER_NAMES } from '../../policy/balancer/registry.js'
import { optional, row, RUN, type OptionRow } from '../option-row.js'
import { duration, oneOf, text } from '../value-type.js'

const BALANCERS = { section: 'Balancers', commands: RUN, live: true } as const
/** The file is watched; another file, or another limit, is not taken up. */
const PLUGIN = { section: 'Balancers', commands: RUN } as const

export const BALANCER_OPTIONS = {
  defaultBalancer: row('default-balancer', oneOf([...BALANCER_NAMES, 'plugin']), 'round-robin', {
    ...BALANCERS,
    help: 'how endpoints are chosen for Services without the annotation kube-sluice.io/balancer',
  }),
  balancerHashSeed: row('balancer-hash-seed', text('TEXT'), 'kube-sluice', {
    ...BALANCERS,
    help: 'what the hashes of maglev and source-hash begin with; must be the same on all nodes',
  }),
  maglevTableSize: row('maglev-table-size', MAGLEV_TABLE_SIZE, '16381', {
    ...BALANCERS,
    help: 'places of the table of maglev, of each Service port that uses it; a hundred times the endpoints keep a change below 1 %',
  }),
  hashBalanceFactor: row('hash-balance-factor', HASH_BALANCE_FACTOR, '125', {
    ...BALANCERS,
    help: 'connections that source-hash lets an endpoint have, in percent of its share; 0 for no bound',
  }),
  peakEwmaDecay: row('peak-ewma-decay', PEAK_EWMA_DECAY, '10s', {
    ...BALANCERS,
    help: 'how long peak-ewma remembers a slow answer: its time constant',
  }),
  slowStart: row('slow-start', SLOW_START, '0s', {
    ...BALANCERS,
    help: 'how long an endpoint that comes, or comes back, takes to its full share of new connections; 0s for at once',
  }),
  slowStartFloor: row('slow-start-floor', SLOW_START_FLOOR, '10', {
    ...BALANCERS,
    help: 'percent of its share that it begins with',
  }),
  balancerPlugin: optional('balancer-plugin', text('FILE'), {
    ...PLUGIN,
    help: 'ES module with a balancer of your own, for Services whose balancer is "plugin"; loaded again when the file changes',
  }),
  balancerPluginLimit: row('balancer-plugin-limit', duration('1ms', '1s'), '2ms', {
    ...PLUGIN,
    help: 'longest time of one of its picks; round robin picks in place of one that is slower, and of all after ten of them',
  }),
} as const satisfies Record<string, OptionRow>
