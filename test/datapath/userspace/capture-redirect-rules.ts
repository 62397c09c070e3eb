import t from 'tap'

import type { CapturedVip } from '../../../src/datapath/userspace/capture.js'
import {
  redirectChains,
  redirectSets,
} from '../../../src/datapath/userspace/capture-redirect-rules.js'
import { parseIpRange } from '../../../src/lib/ip-address.js'
import { capturedVip } from '../../fixtures/netns.js'

const listen = { address: '192.0.2.7', port: 4000 }
const office = parseIpRange('198.51.100.0/24')!

function entries(...vips: CapturedVip[]): Record<string, readonly string[]> {
  return Object.fromEntries(redirectSets(vips, 'IPv4').map(({ name, entries }) => [name, entries]))
}

const cases: { name: string; vip: CapturedVip; sets: Record<string, string[]> }[] = [
  {
    name: 'a TCP VIP is in VIP',
    vip: capturedVip('10.96.0.1', { listen }),
    sets: { VIP: ['10.96.0.1,tcp:80'], LIMITED: [], ALLOWED: [], REJECT: [] },
  },
  {
    name: 'a UDP VIP has a rule of its own, no set',
    vip: capturedVip('10.96.0.1', { listen, protocol: 'UDP' }),
    sets: { VIP: [], LIMITED: [], ALLOWED: [], REJECT: [] },
  },
  {
    name: 'ranges are in ALLOWED, those of the other family left out',
    vip: capturedVip('10.96.0.1', { listen, allowedSources: [office, parseIpRange('fd00::/8')!] }),
    sets: {
      VIP: ['10.96.0.1,tcp:80'],
      LIMITED: ['10.96.0.1,tcp:80'],
      ALLOWED: ['10.96.0.1,tcp:80,198.51.100.0/24'],
      REJECT: [],
    },
  },
  {
    name: 'a list with a /0 is everyone: ipset knows no such entry',
    vip: capturedVip('10.96.0.1', { listen, allowedSources: [office, parseIpRange('0.0.0.0/0')!] }),
    sets: { VIP: ['10.96.0.1,tcp:80'], LIMITED: [], ALLOWED: [], REJECT: [] },
  },
  {
    name: 'drop is limited to nobody, whatever the ranges say',
    vip: capturedVip('10.96.0.1', { action: 'drop', allowedSources: [office] }),
    sets: { VIP: [], LIMITED: ['10.96.0.1,tcp:80'], ALLOWED: [], REJECT: [] },
  },
  {
    name: 'reject answers only those who may reach it',
    vip: capturedVip('10.96.0.1', { action: 'reject', allowedSources: [office] }),
    sets: {
      VIP: [],
      LIMITED: ['10.96.0.1,tcp:80'],
      ALLOWED: ['10.96.0.1,tcp:80,198.51.100.0/24'],
      REJECT: ['10.96.0.1,tcp:80'],
    },
  },
]

for (const { name, vip, sets } of cases) {
  t.test(name, async (t) => {
    const expected = Object.entries(sets).map(([set, list]) => [`KUBE-SLUICE-${set}`, list])
    t.same(entries(vip), Object.fromEntries(expected))
  })
}

t.test('TCP VIPs share one listener', async (t) => {
  const vips = [
    capturedVip('10.96.0.1', { listen }),
    capturedVip('10.96.0.2', { listen: { ...listen, port: 4001 } }),
  ]
  t.throws(() => redirectChains(vips, 'IPv4'), { name: 'RangeError', message: /2 TCP listeners/ })
})

t.test('an IPv6 target stands in brackets, and sets have the suffix', async (t) => {
  const vips = [
    capturedVip('fd96::1', { protocol: 'UDP', port: 53, listen: { address: 'fd71::1', port: 9 } }),
  ]
  const text = JSON.stringify(redirectChains(vips, 'IPv6'))
  t.match(text, '-d fd96::1/128 -p udp -m udp --dport 53 ')
  t.match(text, '-j DNAT --to-destination [fd71::1]:9')
  t.match(text, '--match-set KUBE-SLUICE-LIMITED-6 dst,dst')
})

t.test('every rule has a comment', async (t) => {
  const vips = [
    capturedVip('10.96.0.1', { listen }),
    capturedVip('10.96.0.1', { listen, protocol: 'UDP' }),
  ]
  for (const { rules } of redirectChains(vips, 'IPv4')) {
    for (const rule of rules) t.match(rule, /-m comment --comment "kube-sluice: /)
  }
})
