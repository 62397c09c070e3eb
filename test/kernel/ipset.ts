import t from 'tap'

import { type IpSet, type KernelSets, renderSets, setName } from '../../src/kernel/ipset.js'

const CREATE = 'hash:ip,port family inet hashsize 1024 maxelem'

function set(...entries: string[]): IpSet {
  return { name: 'VIP', type: 'hash:ip,port', family: 'IPv4', entries }
}

function many(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `10.0.0.1,tcp:${index + 1}`)
}

const cases: { name: string; set: IpSet; before: KernelSets; lines: string[] }[] = [
  {
    name: 'a set that is not there is created and filled',
    set: set('10.0.0.1,tcp:80'),
    before: new Map(),
    lines: [`create VIP ${CREATE} 65536`, 'add VIP 10.0.0.1,tcp:80'],
  },
  {
    name: 'a set of unknown content is replaced in one step',
    set: set('10.0.0.1,tcp:80'),
    before: new Map([['VIP', 'unknown']]),
    lines: [
      `create VIP-N ${CREATE} 65536`,
      'add VIP-N 10.0.0.1,tcp:80',
      'swap VIP-N VIP',
      'destroy VIP-N',
    ],
  },
  {
    name: 'a temporary set of a process that died is thrown away first',
    set: set(),
    before: new Map([
      ['VIP', 'unknown'],
      ['VIP-N', 'unknown'],
    ]),
    lines: ['destroy VIP-N', `create VIP-N ${CREATE} 65536`, 'swap VIP-N VIP', 'destroy VIP-N'],
  },
  {
    name: 'few changes are lines, removals first',
    set: set('10.0.0.1,tcp:80', '10.0.0.3,tcp:80'),
    before: new Map([['VIP', new Set(['10.0.0.1,tcp:80', '10.0.0.2,tcp:80'])]]),
    lines: ['del VIP 10.0.0.2,tcp:80', 'add VIP 10.0.0.3,tcp:80'],
  },
  {
    name: 'entries that go by themselves',
    set: { ...set('10.0.0.1,tcp:80'), timeoutSeconds: 120 },
    before: new Map(),
    lines: [`create VIP ${CREATE} 65536 timeout 120`, 'add VIP 10.0.0.1,tcp:80'],
  },
  {
    name: 'no change is no line',
    set: set('10.0.0.1,tcp:80'),
    before: new Map([['VIP', new Set(['10.0.0.1,tcp:80'])]]),
    lines: [],
  },
]

for (const { name, set, before, lines } of cases) {
  t.test(name, async (t) => {
    t.same(renderSets([set], before).split('\n').slice(0, -1), lines)
  })
}

t.test('many changes, or more entries than the set has room for, replace it', async (t) => {
  const replaced = (count: number, before: number) =>
    /swap/.test(renderSets([set(...many(count))], new Map([['VIP', new Set(many(before))]])))
  t.equal(replaced(16, 0), false)
  t.equal(replaced(17, 0), true)
  t.equal(replaced(1100, 1000), false)
  t.equal(replaced(1300, 1000), true)
  t.equal(replaced(32_769, 32_768), true, 'maxelem doubles')
})

t.test('names of IPv6 sets, temporary ones too, fit into IPSET_MAXNAMELEN', async (t) => {
  t.equal(setName('KUBE-SLUICE-LIMITED', 'IPv6'), 'KUBE-SLUICE-LIMITED-6')
  const { length } = `${setName('KUBE-SLUICE-LIMITED', 'IPv6')}-N`
  t.ok(length <= 31)
})
