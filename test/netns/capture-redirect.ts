import t from 'tap'

import type { CapturedVip } from '../../src/datapath/userspace/capture.js'
import { RedirectCapture } from '../../src/datapath/userspace/capture-redirect.js'
import { runChecked } from '../../src/kernel/command.js'
import { parseIpRange } from '../../src/lib/ip-address.js'
import {
  ADDRESSES,
  capturedVip,
  makeLab,
  planOf,
  REPLY_MS,
  SILENCE_MS,
  skipNetns,
} from '../fixtures/netns.js'

t.test('redirect', { skip: skipNetns }, async (t) => {
  const lab = await makeLab(t)
  const { client, node, run } = lab
  const before = await lab.kernelState()

  for (const variant of ['-nft', '-legacy'] as const) {
    for (const { family, vips, client: clientIp, node: nodeIp } of ADDRESSES) {
      const tool = `${family === 'IPv4' ? 'iptables' : 'ip6tables'}${variant}`
      const [first, second, third] = vips
      const host = (ip: string) => parseIpRange(`${ip}/${family === 'IPv4' ? 32 : 128}`)!

      t.test(tool, async (t) => {
        const capture = new RedirectCapture(lab.options(variant))
        t.teardown(() => capture.close())
        const tcp = await node.listen({
          protocol: 'tcp',
          address: family === 'IPv4' ? '0.0.0.0' : '::',
          port: 0,
          name: 'relay',
        })
        const udp = await node.listen({ protocol: 'udp', address: nodeIp, port: 0, name: 'relay' })
        t.teardown(() => Promise.all([node.close(tcp.id), node.close(udp.id)]))
        const vip = (address: string, overrides: Partial<CapturedVip> = {}) =>
          capturedVip(address, { listen: overrides.protocol === 'UDP' ? udp : tcp, ...overrides })
        const reach = (
          agent: typeof client,
          protocol: 'tcp' | 'udp',
          address: string,
          { port = 80, timeoutMs = REPLY_MS, source = undefined as string | undefined } = {},
        ) =>
          agent.reach({
            protocol,
            address,
            port,
            timeoutMs,
            ...(source === undefined ? {} : { source }),
          })

        t.test('clients reach the relay, which learns where they were going', async (t) => {
          await capture.sync(planOf([vip(first), vip(first, { protocol: 'UDP', port: 53 })]))
          t.equal(await reach(client, 'tcp', first), `relay saw ${clientIp} for ${first} 80`)
          t.equal(await reach(node, 'tcp', first), `relay saw ${nodeIp} for ${first} 80`)
          t.equal(await reach(client, 'udp', first, { port: 53 }), `relay saw ${clientIp}`)
          t.equal(await reach(node, 'udp', first, { port: 53 }), `relay saw ${nodeIp}`)
        })

        t.test('node ports are VIPs like others', async (t) => {
          const nodePort = vip(nodeIp, { isNodeAddress: true, port: 30080 })
          await capture.sync(planOf([nodePort]))
          const expected = `for ${nodeIp} 30080`
          t.match(await reach(client, 'tcp', nodeIp, { port: 30080 }), expected)
          t.match(await reach(node, 'tcp', nodeIp, { port: 30080 }), expected)
        })

        t.test('REJECT is refused at once, of VIPs and node ports', async (t) => {
          const reject = { action: 'reject', listen: undefined } as const
          await capture.sync(
            planOf([
              vip(second, reject),
              vip(second, { ...reject, protocol: 'UDP' }),
              vip(nodeIp, { ...reject, port: 30081, isNodeAddress: true }),
            ]),
          )
          for (const agent of [client, node]) {
            t.equal(await reach(agent, 'tcp', second), 'ECONNREFUSED')
            t.equal(await reach(agent, 'udp', second), 'ECONNREFUSED')
            t.equal(await reach(agent, 'tcp', nodeIp, { port: 30081 }), 'ECONNREFUSED')
          }
        })

        t.test('DROP is silence', async (t) => {
          const drop = { action: 'drop', listen: undefined } as const
          await capture.sync(planOf([vip(third, drop), vip(third, { ...drop, protocol: 'UDP' })]))
          const silent = { timeoutMs: SILENCE_MS }
          t.equal(await reach(client, 'tcp', third, silent), 'timeout')
          t.equal(await reach(client, 'udp', third, silent), 'timeout')
          t.equal(await reach(node, 'tcp', third, silent), 'timeout')
        })

        t.test('sources outside the ranges are dropped, reject or not', async (t) => {
          const allowedSources = [host(clientIp)]
          await capture.sync(
            planOf([
              vip(first, { allowedSources }),
              vip(first, { allowedSources, protocol: 'UDP', port: 53 }),
              vip(second, { allowedSources, action: 'reject', listen: undefined }),
            ]),
          )
          t.match(await reach(client, 'tcp', first), `relay saw ${clientIp}`)
          t.equal(await reach(client, 'udp', first, { port: 53 }), `relay saw ${clientIp}`)
          t.equal(await reach(client, 'tcp', second), 'ECONNREFUSED')
          const silent = { timeoutMs: SILENCE_MS }
          t.equal(await reach(node, 'tcp', first, silent), 'timeout')
          t.equal(await reach(node, 'tcp', second, silent), 'timeout')
          // sendto() tells a local client at once that a rule of OUTPUT dropped it
          t.match(await reach(node, 'udp', first, { port: 53, ...silent }), /timeout|EPERM/)
        })

        t.test('a UDP flow follows its VIP to another socket', async (t) => {
          const other = await node.listen({
            protocol: 'udp',
            address: nodeIp,
            port: 0,
            name: 'another',
          })
          t.teardown(() => node.close(other.id))
          const dns = vip(first, { protocol: 'UDP', port: 53 })
          // One 5-tuple throughout: only a deleted entry of connection tracking lets it move.
          const source = { port: 53, source: clientIp, sourcePort: 4053 }
          const ask = () =>
            client.reach({ protocol: 'udp', address: first, timeoutMs: REPLY_MS, ...source })
          await capture.sync(planOf([dns]))
          t.equal(await ask(), `relay saw ${clientIp}`)
          await capture.sync(planOf([{ ...dns, listen: other }]))
          t.equal(await ask(), `another saw ${clientIp}`)
          const restarted = new RedirectCapture(lab.options(variant))
          await restarted.sync(planOf([dns]))
          t.equal(await ask(), `relay saw ${clientIp}`, 'after a restart too')
          await restarted.close()
          // Another process has removed everything: noticed when it is looked at again.
          lab.clock.ms += 30_000
          await capture.sync(planOf([dns]))
          t.equal(await ask(), `relay saw ${clientIp}`)
        })

        t.test('what was wiped is repaired when it is looked at again', async (t) => {
          const plan = planOf([vip(first), vip(second, { action: 'reject', listen: undefined })])
          await capture.sync(plan)
          const damages = [
            [tool, '-t', 'nat', '-F'],
            [tool, '-t', 'nat', '-F', 'KUBE-SLUICE-CAPTURE'],
            ['ipset', 'flush', family === 'IPv4' ? 'KUBE-SLUICE-VIP' : 'KUBE-SLUICE-VIP-6'],
          ] as const
          for (const [command, ...args] of damages) {
            await runChecked(run, command, args)
            t.not(await reach(client, 'tcp', first, { timeoutMs: SILENCE_MS }), 'relay')
            lab.clock.ms += 30_000
            await capture.sync(plan)
            t.match(await reach(client, 'tcp', first), 'relay saw', [command, ...args].join(' '))
          }
        })

        t.test('many changes replace a set, few change it, none run nothing', async (t) => {
          const commands: string[] = []
          const counting = new RedirectCapture({
            ...lab.options(variant),
            run: (command, args, input) => {
              commands.push([command, ...args, input].join(' '))
              return run(command, args, input)
            },
          })
          const many = Array.from({ length: 200 }, (_, port) => vip(first, { port: port + 1000 }))
          await counting.sync(planOf(many.slice(0, 100)))
          commands.length = 0
          await counting.sync(planOf(many))
          t.match(commands, [/swap/], 'one command')
          t.match(await reach(client, 'tcp', first, { port: 1199 }), `for ${first} 1199`)
          commands.length = 0
          await counting.sync(planOf(many.slice(0, 199)))
          t.equal(commands.length, 1)
          t.match(commands, [/^ipset restore del KUBE-SLUICE-VIP\S* \S+,tcp:1199\n$/])
          commands.length = 0
          await counting.sync(planOf(many.slice(0, 199)))
          t.same(commands, [])
          await counting.close()
          lab.clock.ms += 30_000
        })

        t.test('closing leaves nothing, twice as well, and so does a successor', async (t) => {
          await capture.sync(planOf([vip(first), vip(second, { protocol: 'UDP' })]))
          const successor = new RedirectCapture(lab.options(variant))
          await successor.sync(planOf([vip(first)]))
          await successor.sync(planOf([]))
          t.equal(await lab.kernelState(), before, 'nothing is left when there is no VIP')
          await successor.close()
          await capture.close()
          await capture.close()
          t.equal(await lab.kernelState(), before)
        })
      })
    }
  }
  t.test('nothing was left out', async (t) => {
    t.same(lab.warnings, [])
  })
})
