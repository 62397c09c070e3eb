import t from 'tap'
import type { RunConfig } from '../../src/config/run-config.js'
import { ownParts } from '../../src/datapath/take-over.js'
import type { KernelCapabilities } from '../../src/kernel/probe-capability.js'

t.test('the tproxy capture owns the local routes of its VIPs', async (t) => {
  const parts = (capture: 'tproxy' | 'anyip' | 'redirect') => [
    ...ownParts(
      { mode: 'userspace', capture, auto: undefined },
      {} as RunConfig,
      {} as KernelCapabilities,
    ),
  ]
  t.same(parts('tproxy'), ['tproxy', 'anyip'])
  t.same(parts('anyip'), ['anyip'])
  t.same(parts('redirect'), ['redirect'])
})
