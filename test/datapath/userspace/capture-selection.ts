import t from 'tap'

import {
  chooseCapture,
  createCapture,
  missingFor,
} from '../../../src/datapath/userspace/capture-selection.js'
import type { CapabilityName } from '../../../src/kernel/probe-capability.js'
import { kernelWithout } from '../../fixtures/kernel-capabilities.js'

const cases: { name: string; missing: CapabilityName[]; chosen: string; reason: RegExp }[] = [
  { name: 'the best is tproxy', missing: [], chosen: 'tproxy', reason: /^the best that this/ },
  {
    name: 'anyip needs no netfilter',
    missing: ['tproxy divert IPv4', 'iptables nat', 'ipset match', 'conntrack tool'],
    chosen: 'anyip',
    reason: /tproxy lacks tproxy divert IPv4 \(it says no; fix it\)$/,
  },
  {
    name: 'redirect needs no local routes',
    missing: ['local routes IPv4', 'transparent sockets'],
    chosen: 'redirect',
    reason: /tproxy lacks local routes IPv4 .*, transparent sockets .*; anyip lacks local routes/,
  },
  {
    name: 'what only IPv6 lacks does not count',
    missing: ['local routes IPv6', 'tproxy divert IPv6'],
    chosen: 'tproxy',
    reason: /^the best that this node can do$/,
  },
]

for (const { name, missing, chosen, reason } of cases) {
  t.test(name, async (t) => {
    t.match(chooseCapture('auto', kernelWithout(...missing)), { name: chosen, reason })
  })
}

t.test('what is asked for is taken, or refused with what is missing', async (t) => {
  t.same(chooseCapture('redirect', kernelWithout()), { name: 'redirect', reason: 'as configured' })
  t.throws(() => chooseCapture('tproxy', kernelWithout('tproxy divert IPv4')), {
    code: 'ERR_CAPABILITY',
    message: /^no way to capture .* tproxy lacks tproxy divert IPv4 \(it says no; fix it\); see/,
  })
})

t.test('a node that can do nothing is told all of it', async (t) => {
  t.throws(() => chooseCapture('auto', kernelWithout('local routes IPv4', 'iptables nat')), {
    code: 'ERR_CAPABILITY',
    message: /tproxy lacks .*; anyip lacks .*; redirect lacks iptables nat/,
  })
})

t.test('what was not probed is missing', async (t) => {
  const nothing = { capabilities: [], iptablesVariant: '' } as const
  t.match(missingFor('anyip', nothing, 'IPv6'), [{ reason: 'it was not probed' }])
})

t.test('each name makes its capture, which touches nothing yet', async (t) => {
  const options = {
    run: () => Promise.reject(new Error('touched')),
    localAddresses: () => [],
    clock: { nowMs: () => 0 },
    iptablesVariant: '',
    tproxyMarkBit: 13,
    warn: () => undefined,
  } as const
  for (const name of ['anyip', 'tproxy', 'redirect'] as const) {
    t.equal(createCapture(name, options).name, name)
  }
})
