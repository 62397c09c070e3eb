/** The balancers by name. A new algorithm is a file beside this one and a row here. */
import type { Balancer } from './balancer.js'
import { LeastConnections } from './least-connections.js'
import { Maglev } from './maglev.js'
import { PeakEwma } from './peak-ewma.js'
import { RandomTwo } from './random-two.js'
import { RoundRobin } from './round-robin.js'
import type { BalancerSettings } from './settings.js'
import { SourceHash } from './source-hash.js'
import { WeightedLeastConnections } from './weighted-least-connections.js'
import { WeightedRoundRobin } from './weighted-round-robin.js'

export const BALANCER_NAMES = [
  'round-robin',
  'weighted-round-robin',
  'least-connections',
  'weighted-least-connections',
  'random-two',
  'maglev',
  'source-hash',
  'peak-ewma',
] as const

/** `plugin`: the one that the user has written, when there is one. */
export type BalancerName = (typeof BALANCER_NAMES)[number] | 'plugin'

/** Whether there is a balancer of that name; `plugin` where a plug-in is configured. */
export function isBalancerName(name: string, hasPlugin: boolean): name is BalancerName {
  return name === 'plugin' ? hasPlugin : (BALANCER_NAMES as readonly string[]).includes(name)
}

/** A new balancer; `plugin` makes those of the plug-in. */
export function createBalancer(
  settings: BalancerSettings,
  plugin?: { readonly create: () => Balancer },
): Balancer {
  const { name, hashSeed: seed } = settings
  switch (name) {
    case 'round-robin':
      return new RoundRobin()
    case 'weighted-round-robin':
      return new WeightedRoundRobin()
    case 'least-connections':
      return new LeastConnections()
    case 'weighted-least-connections':
      return new WeightedLeastConnections()
    case 'random-two':
      return new RandomTwo()
    case 'maglev': {
      const { maglevTableSize: tableSize, hashesPort } = settings
      return new Maglev({ seed, tableSize, hashesPort })
    }
    case 'source-hash':
      return new SourceHash({ seed, balanceFactor: settings.hashBalanceFactor })
    case 'plugin':
      return plugin?.create() ?? new RoundRobin()
    case 'peak-ewma':
      return new PeakEwma({ decayMs: settings.peakEwmaDecayMs })
  }
}
