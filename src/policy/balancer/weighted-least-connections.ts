/**
 * Weighted least connections: the endpoint that would have the fewest open connections in proportion
 * to its weight (as HAProxy's leastconn and IPVS's wlc).
 */
import type { Endpoint } from '../../model/endpoint.js'
import { LeastConnections } from './least-connections.js'

export class WeightedLeastConnections extends LeastConnections {
  override readonly name = 'weighted-least-connections'

  protected override readonly shareOf = ({ weight }: Endpoint): number => weight
}
