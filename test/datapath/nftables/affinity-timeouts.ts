import t from 'tap'

import {
  AFFINITY_TIMEOUTS,
  timeoutClassOf,
} from '../../../src/datapath/nftables/affinity-timeouts.js'

t.test('a time-out gets the first class that is not shorter', async (t) => {
  const of = (seconds: number) => AFFINITY_TIMEOUTS[timeoutClassOf(seconds)]
  t.strictSame(
    [1, 7, 10_800, 10_801, 86_400, 90_000].map(of),
    [1, 8, 10_800, 14_400, 86_400, 86_400],
  )
})
