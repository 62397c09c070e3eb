import t from 'tap'

import { TproxyCapture } from '../../src/datapath/userspace/capture-tproxy.js'
import { runChecked } from '../../src/kernel/command.js'
import {
  ADDRESSES,
  capturedVip as vip,
  makeLab,
  planOf,
  REPLY_MS,
  SILENCE_MS,
  skipNetns,
} from '../fixtures/netns.js'

t.test('tproxy', { skip: skipNetns }, async (t) => {
  const lab = await makeLab(t)
  const { client, node, pods, run } = lab
  const before = await lab.kernelState()

  for (const variant of ['-nft', '-legacy'] as const) {
    const capture = new TproxyCapture(lab.options(variant))
    t.teardown(() => capture.close())

    for (const { family, vips, client: clientIp, pod } of ADDRESSES) {
      const [address] = vips
      const name = `${family}, iptables${variant}`
      const request = { protocol: 'tcp', address, port: 80, timeoutMs: REPLY_MS } as const
      const tool = `${family === 'IPv4' ? 'iptables' : 'ip6tables'}${variant}`

      t.test(`${name}: the endpoint sees the client, and answers through the relay`, async (t) => {
        await capture.sync(planOf([vip(address)]))
        const endpoint = await pods.listen({
          protocol: 'tcp',
          address: pod,
          port: 8080,
          name: 'endpoint',
        })
        const listener = await node.listen({
          protocol: 'tcp',
          address,
          port: 80,
          name: 'relay',
          relayTo: endpoint,
        })
        t.teardown(() => Promise.all([pods.close(endpoint.id), node.close(listener.id)]))
        t.equal(await client.reach(request), `endpoint saw ${clientIp}`)
        const text = await runChecked(run, tool, ['-t', 'mangle', '-vxnL', 'KUBE-SLUICE-UNMARK'])
        const marked = Number(/^ *(\d+) .*MARK/m.exec(text)?.[1])
        t.ok(marked > 0, `${marked} packets were marked, and are not any more`)
      })

      t.test(`${name}: without the divert answers are lost; a sync repairs it`, async (t) => {
        const plan = planOf([vip(address)])
        await capture.sync(plan)
        const endpoint = await pods.listen({
          protocol: 'tcp',
          address: pod,
          port: 8080,
          name: 'endpoint',
        })
        const listener = await node.listen({
          protocol: 'tcp',
          address,
          port: 80,
          name: 'relay',
          relayTo: endpoint,
        })
        t.teardown(() => Promise.all([pods.close(endpoint.id), node.close(listener.id)]))
        const damages: [string, string[]][] = [
          [tool, ['-t', 'mangle', '-F']],
          [tool, ['-t', 'mangle', '-F', 'KUBE-SLUICE-DIVERT']],
          ['ip', [family === 'IPv4' ? '-4' : '-6', 'rule', 'del', 'priority', '1075']],
          ['ip', [family === 'IPv4' ? '-4' : '-6', 'route', 'flush', 'table', '1075']],
        ]
        for (const [command, args] of damages) {
          await runChecked(run, command, args)
          const words = [command, ...args].join(' ')
          t.equal(await client.reach({ ...request, timeoutMs: SILENCE_MS }), 'timeout', words)
          lab.clock.ms += 30_000
          await capture.sync(plan)
          t.equal(await client.reach(request), `endpoint saw ${clientIp}`, `after ${words}`)
        }
      })
    }

    t.test(`iptables${variant}: the divert goes with the last VIP of its family`, async (t) => {
      await capture.sync(planOf([vip('10.96.0.1'), vip('fd96::1')]))
      const both = await lab.kernelState()
      t.match(both, /iptables\S* -A KUBE-SLUICE-DIVERT/)
      t.match(both, /ip6tables\S* -A KUBE-SLUICE-DIVERT/)
      await capture.sync(planOf([vip('10.96.0.1')], ['fd96::1']))
      t.match(await lab.kernelState(), /ip6tables\S* -A KUBE-SLUICE-DIVERT/, 'not while draining')
      await capture.sync(planOf([vip('10.96.0.1')]))
      const one = await lab.kernelState()
      t.match(one, /iptables\S* -A KUBE-SLUICE-DIVERT/)
      t.notMatch(one, /ip6tables\S* -A KUBE-SLUICE/)
    })

    t.test(`iptables${variant}: another mark bit replaces the rule of the last run`, async (t) => {
      await capture.sync(planOf([vip('10.96.0.1')]))
      const next = new TproxyCapture({ ...lab.options(variant), tproxyMarkBit: 20 })
      t.teardown(() => next.close())
      await next.sync(planOf([vip('10.96.0.1')]))
      const state = await lab.kernelState()
      t.match(state, /fwmark 0x100000\/0x100000 lookup 1075/)
      t.notMatch(state, /0x2000/)
    })

    t.test(`iptables${variant}: closing leaves nothing, twice as well`, async (t) => {
      lab.clock.ms += 30_000
      await capture.sync(planOf([vip('10.96.0.1'), vip('fd96::1')]))
      await capture.close()
      await capture.close()
      t.equal(await lab.kernelState(), before)
    })
  }
  t.test('nothing was left out', async (t) => {
    t.same(lab.warnings, [])
  })
})
