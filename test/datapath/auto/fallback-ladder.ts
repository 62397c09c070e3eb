import t from 'tap'

import { FALLBACK_MODES, fallbackLadder } from '../../../src/datapath/auto/fallback-ladder.js'
import { kernelWithout } from '../../fixtures/kernel-capabilities.js'

const STEERING = { standby: 'nftables', bindsToVip: false } as const
const first = (...args: Parameters<typeof fallbackLadder>) =>
  fallbackLadder(...args).find(({ obstacle }) => obstacle === undefined)?.mode

t.test('the first of the preference that the kernel can', async (t) => {
  t.equal(first(kernelWithout(), FALLBACK_MODES, STEERING), 'ipvs')
  t.equal(first(kernelWithout('IPVS'), FALLBACK_MODES, STEERING), 'nftables')
  t.equal(first(kernelWithout('IPVS', 'nftables nat maps'), FALLBACK_MODES, STEERING), 'iptables')
  t.equal(first(kernelWithout(), ['iptables', 'ipvs'], STEERING), 'iptables')
  t.equal(first(kernelWithout('IPVS'), ['ipvs'], STEERING), undefined)
  t.match(fallbackLadder(kernelWithout('IPVS'), ['ipvs'], STEERING)[0]?.obstacle, /misses IPVS/)
})

t.test('ipvs is passed over where it would be in the way', async (t) => {
  const onRules = { standby: 'iptables', bindsToVip: false } as const
  const relay = { standby: undefined, bindsToVip: true } as const
  t.equal(first(kernelWithout(), FALLBACK_MODES, onRules), 'nftables')
  t.equal(first(kernelWithout(), FALLBACK_MODES, relay), 'nftables')
  t.equal(first(kernelWithout(), FALLBACK_MODES, { ...relay, bindsToVip: false }), 'ipvs')
})
