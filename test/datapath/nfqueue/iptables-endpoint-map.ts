/** Against real iptables of both kinds, in a namespace of its own. */
import t from 'tap'

import {
  IptablesEndpointMap,
  MAX_IPTABLES_SLOT,
  removeEndpointChains,
} from '../../../src/datapath/nfqueue/iptables-endpoint-map.js'
import type { SlotElement } from '../../../src/datapath/nfqueue/slot-table.js'
import { commandRunner } from '../../../src/kernel/command.js'
import { DEFAULT_MARK_MASK, markLayoutOf } from '../../../src/packet/mark-layout.js'
import { inNamespace, tool } from '../../fixtures/in-namespace.js'

const run = commandRunner()
const layout = markLayoutOf(DEFAULT_MARK_MASK)
const ECHO = 'demo/echo:http/TCP/IPv4'

function element(slot: number, comment = ECHO): SlotElement {
  return { slot, ip: `10.244.${slot >> 8}.${slot & 255}`, port: 8080, comment }
}

if (inNamespace(t, import.meta.url)) {
  for (const variant of ['-nft', '-legacy']) {
    const iptables = `iptables${variant}`
    const make = (mask = layout) => new IptablesEndpointMap(run, iptables, mask)
    const rules = (): string[] =>
      tool(`${iptables}-save`, ['-t', 'nat'])
        .split('\n')
        .filter((line) => line.startsWith('-A KUBE-SLUICE'))
    const chains = (): string[] =>
      [
        ...tool(`${iptables}-save`, ['-t', 'nat']).matchAll(/^:(KUBE-SLUICE-E[NDPOINTS\d-]+) /gm),
      ].map(([, name]) => name!)

    t.test(`${iptables}: two levels of rules`, async (t) => {
      const map = make()
      await map.add([])
      t.strictSame(chains(), ['KUBE-SLUICE-ENDPOINTS'], 'is there for the rule that jumps to it')
      await map.add([element(1), element(70, 'demo/dns/UDP/IPv4')])
      t.strictSame(rules().sort(), [
        '-A KUBE-SLUICE-ENDPOINTS -m connmark --mark 0x0/0xfffc000 -j KUBE-SLUICE-EP-0',
        '-A KUBE-SLUICE-ENDPOINTS -m connmark --mark 0x4000/0xfffc000 -j KUBE-SLUICE-EP-1',
        '-A KUBE-SLUICE-EP-0 -p tcp -m connmark --mark 0x100/0xfffff00 -m comment' +
          ' --comment "demo/echo:http/TCP/IPv4" -j DNAT --to-destination 10.244.0.1:8080',
        '-A KUBE-SLUICE-EP-1 -p udp -m connmark --mark 0x4600/0xfffff00 -m comment' +
          ' --comment "demo/dns/UDP/IPv4" -j DNAT --to-destination 10.244.0.70:8080',
      ])
      await map.remove([1])
      t.strictSame(chains().sort(), ['KUBE-SLUICE-ENDPOINTS', 'KUBE-SLUICE-EP-1'])
      await map.add([element(2)])
      await map.remove([70, 70])
      t.match(rules().join('\n'), /EP-0\n.*0x200\/.*10\.244\.0\.2:8080$/)
      t.equal(rules().length, 2)
    })

    t.test(`${iptables}: a later process finds what is there`, async (t) => {
      await make().fill([element(3), element(64), element(MAX_IPTABLES_SLOT)])
      const left = rules()
      const map = make()
      const id = (slot: number): string => `10.244.${slot >> 8}.${slot & 255}:8080`
      t.strictSame(
        (await map.read()).map(({ slot, id, comment }) => [slot, id, comment]),
        [3, 64, MAX_IPTABLES_SLOT].map((slot) => [slot, id(slot), ECHO]),
      )
      await map.add([])
      t.strictSame(rules(), left, 'nothing is lost')
      await map.remove([64])
      t.equal(rules().length, left.length - 2)
    })

    t.test(`${iptables}: rules of another mark mask are replaced`, async (t) => {
      await make().fill([element(1), element(200)])
      const map = make(markLayoutOf(0x0ffff000))
      t.strictSame(await map.read(), [])
      await map.add([element(5)])
      t.strictSame(chains().sort(), ['KUBE-SLUICE-ENDPOINTS', 'KUBE-SLUICE-EP-0'])
      t.match(rules().at(-1), /0x5000\/0x3fff000/)
    })

    t.test(`${iptables}: what somebody has removed is noticed and put back`, async (t) => {
      const map = make()
      await map.fill([element(1), element(100)])
      t.equal(await map.isIntact(), true)
      tool(iptables, ['-t', 'nat', '-F', 'KUBE-SLUICE-ENDPOINTS'])
      t.equal(await map.isIntact(), false)
      tool(iptables, ['-t', 'nat', '-F'])
      tool(iptables, ['-t', 'nat', '-X'])
      t.equal(await map.isIntact(), false)
      await map.fill([element(1), element(100)])
      t.equal(await map.isIntact(), true)
      t.equal(rules().length, 4)
    })

    t.test(`${iptables}: after a refusal everything is loaded anew`, async (t) => {
      const map = make()
      await map.fill([element(1)])
      tool(iptables, ['-t', 'nat', '-N', 'SOMEBODY'])
      tool(iptables, ['-t', 'nat', '-A', 'SOMEBODY', '-j', 'KUBE-SLUICE-EP-0'])
      await t.rejects(map.remove([1]), { code: 'ERR_TOOL' }, 'a chain in use cannot go')
      tool(iptables, ['-t', 'nat', '-F', 'SOMEBODY'])
      await map.add([element(300)])
      t.strictSame(chains().sort(), ['KUBE-SLUICE-ENDPOINTS', 'KUBE-SLUICE-EP-4'])
    })

    t.test(`${iptables}: all of it can be removed`, async (t) => {
      await make().fill([element(1), element(100)])
      const removed = await removeEndpointChains(run, iptables)
      t.strictSame([...removed].sort(), [
        'nat/KUBE-SLUICE-ENDPOINTS',
        'nat/KUBE-SLUICE-EP-0',
        'nat/KUBE-SLUICE-EP-1',
      ])
      t.strictSame(chains(), [])
      t.strictSame(await removeEndpointChains(run, iptables), [])
    })
  }

  t.test('IPv6 and SCTP', async (t) => {
    const map = new IptablesEndpointMap(run, 'ip6tables-nft', layout)
    const comment = 'demo/sigtran/SCTP/IPv6'
    await map.fill([{ slot: 9, ip: 'fd00:244::9', port: 2905, comment }])
    const left = await new IptablesEndpointMap(run, 'ip6tables-nft', layout).read()
    t.strictSame(left, [
      { slot: 9, ip: 'fd00:244::9', port: 2905, comment, id: '[fd00:244::9]:2905' },
    ])
  })
}
