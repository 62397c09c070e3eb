import t from 'tap'

import { podRanges } from '../../src/model/pod-ranges.js'
import { ranges } from '../fixtures/objects.js'

t.test('pods are told by the first range of each family, or by the node’s own', async (t) => {
  const node = { name: 'n', zone: undefined, addresses: [], podCidrs: ['10.244.1.0/24', 'bad'] }
  const texts = (detectLocalMode: 'ClusterCIDR' | 'NodeCIDR') =>
    podRanges(node, {
      detectLocalMode,
      clusterCidrs: ranges('10.244.0.0/16', '10.9.0.0/16', 'fd00::/8'),
    }).map(({ text }) => text)
  t.strictSame(texts('ClusterCIDR'), ['10.244.0.0/16', 'fd00::/8'])
  t.strictSame(texts('NodeCIDR'), ['10.244.1.0/24'])
})
