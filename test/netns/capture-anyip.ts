import t from 'tap'

import { AnyipCapture } from '../../src/datapath/userspace/capture-anyip.js'
import { listLocalRoutes } from '../../src/kernel/local-route.js'
import {
  ADDRESSES,
  capturedVip as vip,
  makeLab,
  planOf,
  REPLY_MS,
  SILENCE_MS,
  skipNetns,
} from '../fixtures/netns.js'

t.test('anyip', { skip: skipNetns }, async (t) => {
  const lab = await makeLab(t)
  const before = await lab.kernelState()
  const capture = new AnyipCapture(lab.options())
  t.teardown(() => capture.close())
  const { client, node, run } = lab

  for (const { family, vips, client: clientIp, node: nodeIp } of ADDRESSES) {
    const [first, second] = vips
    t.test(`${family}: clients reach sockets on the VIP, TCP and UDP`, async (t) => {
      await capture.sync(planOf([vip(first), vip(first, { protocol: 'UDP', port: 53 })]))
      for (const [protocol, port] of [
        ['tcp', 80],
        ['udp', 53],
      ] as const) {
        await node.listen({ protocol, address: first, port, name: 'relay' })
        const request = { protocol, address: first, port, timeoutMs: REPLY_MS }
        t.equal(await client.reach(request), `relay saw ${clientIp}`, `${protocol} from afar`)
        t.equal(await node.reach(request), `relay saw ${nodeIp}`, `${protocol} from the node`)
      }
    })

    t.test(`${family}: a VIP that nobody listens on refuses`, async (t) => {
      await capture.sync(planOf([vip(first), vip(second, { action: 'reject' })]))
      for (const protocol of ['tcp', 'udp'] as const) {
        const request = { protocol, address: second, port: 80, timeoutMs: REPLY_MS }
        t.equal(await client.reach(request), 'ECONNREFUSED', `${protocol} from afar`)
        t.equal(await node.reach(request), 'ECONNREFUSED', `${protocol} from the node`)
      }
    })

    t.test(`${family}: a socket filter drops other sources, and is replaced live`, async (t) => {
      await capture.sync(planOf([vip(first), vip(second)]))
      const host = (ip: string) => `${ip}/${family === 'IPv4' ? 32 : 128}`
      for (const protocol of ['tcp', 'udp'] as const) {
        const at = { protocol, address: second, port: 8080 }
        const silent = { ...at, timeoutMs: SILENCE_MS }
        const answered = { ...at, timeoutMs: REPLY_MS }
        const { id } = await node.listen({ ...at, name: 'relay', sources: [host(clientIp)] })
        t.equal(await client.reach(answered), `relay saw ${clientIp}`, `${protocol} allowed`)
        t.equal(await node.reach(silent), 'timeout', `${protocol} of another source`)
        await node.filter({ id, sources: [] })
        t.equal(await client.reach(silent), 'timeout', `${protocol} with everything dropped`)
        await node.filter({ id, sources: 'all' })
        t.equal(await node.reach(answered), `relay saw ${nodeIp}`, `${protocol} unfiltered`)
        await node.close(id)
      }
    })

    t.test(
      `${family}: addresses of the node get no route, draining ones keep theirs`,
      async (t) => {
        const nodePort = vip(nodeIp, { isNodeAddress: true, port: 30080 })
        // An external IP that is an address of the node.
        const external = vip(nodeIp)
        await capture.sync(planOf([vip(first), nodePort, external], [second]))
        const routes = await listLocalRoutes(run, family)
        const expected = [first, second].map((address) => ({ address, preferredSource: nodeIp }))
        t.same([...routes].sort(byAddress), expected)
        await capture.sync(planOf([vip(first)]))
        t.same(await listLocalRoutes(run, family), expected.slice(0, 1))
      },
    )

    t.test(`${family}: left-overs of another process are reconciled`, async (t) => {
      await capture.sync(planOf([vip(first), vip(second)]))
      const next = new AnyipCapture(lab.options())
      await next.sync(planOf([vip(second), vip(vips[2])]))
      const addresses = (await listLocalRoutes(run, family)).map(({ address }) => address)
      t.same(addresses.sort(), [second, vips[2]])
      await next.close()
      t.same(await listLocalRoutes(run, family), [])
      // And the first one repairs what the other took away, when it looks again.
      lab.clock.ms += 30_000
      await capture.sync(planOf([vip(first), vip(second)]))
      t.equal((await listLocalRoutes(run, family)).length, 2)
    })
  }

  t.test('a sync without changes runs no tool', async (t) => {
    const plan = planOf(ADDRESSES.flatMap(({ vips }) => vips.map((address) => vip(address))))
    let commands = 0
    const counting = new AnyipCapture({
      ...lab.options(),
      run: (...command) => {
        commands++
        return run(...command)
      },
    })
    t.teardown(() => counting.close())
    await counting.sync(plan)
    const first = commands
    await counting.sync(plan)
    t.equal(commands, first)
    t.ok(first > 0)
  })

  t.test('closing leaves nothing, twice as well', async (t) => {
    await capture.close()
    await capture.close()
    t.equal(await lab.kernelState(), before)
    t.same(lab.warnings, [])
  })
})

function byAddress(a: { address: string }, b: { address: string }): number {
  return a.address < b.address ? -1 : 1
}
