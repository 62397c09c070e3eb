import t from 'tap'

import { chooseMode } from '../../src/datapath/choose-mode.js'
import { kernelWithout } from '../fixtures/kernel-capabilities.js'

t.test('a kernel that can do everything gets nfqueue', async (t) => {
  t.equal(chooseMode(kernelWithout()).mode, 'nfqueue')
})

t.test('what nfqueue needs and is missing is named, once', async (t) => {
  t.same(chooseMode(kernelWithout('iptables NFQUEUE', 'ipset match')), {
    mode: 'userspace',
    reason: 'nfqueue misses iptables NFQUEUE, ipset match',
  })
  t.equal(chooseMode(kernelWithout('iptables nat')).reason.match(/iptables nat/g)?.length, 1)
})

t.test('what nfqueue does not need does not matter', async (t) => {
  t.equal(
    chooseMode(kernelWithout('IPVS', 'nftables nat maps', 'transparent sockets')).mode,
    'nfqueue',
  )
})
