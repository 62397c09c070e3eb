/** The flat nftables layout on the real kernel, in network namespaces: where each connection ends. */
import t, { type Test } from 'tap'

import { TextElementLoader } from '../../src/datapath/nftables/element-loader.js'
import { NftablesProxier } from '../../src/datapath/nftables/nftables-proxier.js'
import type { LayoutOptions } from '../../src/datapath/nftables/layout.js'
import { commandRunner, runChecked } from '../../src/kernel/command.js'
import { type IpFamily } from '../../src/lib/ip-address.js'
import type { Endpoint } from '../../src/model/endpoint.js'
import type { ServicePort } from '../../src/model/service-port.js'
import type { ServicePortState } from '../../src/model/snapshot.js'
import { DEFAULT_MARK_MASK, markLayoutOf, markOf } from '../../src/packet/mark-layout.js'
import { NO_RULE_METRICS } from '../../src/observe/rule-metrics.js'
import type { Agent } from '../fixtures/agent.js'
import { FakeClock } from '../fixtures/fake-clock.js'
import { endpoint, portState, servicePort, snapshotOf } from '../fixtures/endpoint.js'
import { ranges } from '../fixtures/objects.js'
import { answers, reach, serve } from '../fixtures/reach.js'
import { rootOnly, startCluster } from '../fixtures/test-cluster.js'

const SILENCE_MS = 500
const marks = markLayoutOf(DEFAULT_MARK_MASK)

t.test('the flat layout', { skip: rootOnly }, async (t) => {
  const cluster = await startCluster(2)
  t.teardown(() => cluster.close())
  const { client, node, namespaces } = cluster
  const [pod1, pod2] = cluster.pods as [Agent, Agent]
  const nodeNs = namespaces.names.find((name) => name.endsWith('-node'))!
  const run = commandRunner(['ip', 'netns', 'exec', nodeNs])
  await namespaces.sysctl(nodeNs, {
    'net.ipv4.conf.all.route_localnet': '1',
    // A datagram is refused once; it must not be the one that the limit takes.
    'net.ipv4.icmp_ratelimit': '0',
    'net.ipv6.icmp.ratelimit': '0',
  })
  for (const [index, pod] of cluster.pods.entries()) {
    for (const family of [4, 6] as const) {
      await serve(pod, `pod-${index + 1}`, cluster.podIp(index + 1, family), 8080)
    }
  }
  const layoutOptions: LayoutOptions = {
    marks,
    masqueradeAll: false,
    clusterCidrs: ranges('10.244.0.0/16', 'fd00:244::/32'),
    detectLocalMode: 'ClusterCIDR',
    nodePortAddresses: 'all',
    localhostNodePorts: true,
  }
  let options = layoutOptions
  const proxier = () =>
    new NftablesProxier({
      run,
      clock: new FakeClock(),
      metrics: NO_RULE_METRICS,
      loader: new TextElementLoader(run),
      families: ['IPv4', 'IPv6'],
      layoutOptions: () => options,
    })

  for (const ipFamily of ['IPv4', 'IPv6'] as const) {
    await t.test(ipFamily, (t) => testFamily(t, ipFamily))
  }

  async function testFamily(t: Test, ipFamily: IpFamily): Promise<void> {
    const isV4 = ipFamily === 'IPv4'
    const vip = (last: number) => (isV4 ? `10.96.0.${last}` : `fd00:96::${last}`)
    const ext = (last: number) => (isV4 ? `192.0.2.${last}` : `2001:db8::${last}`)
    const clientIp = isV4 ? '10.0.1.2' : 'fd00:1::2'
    const nodeIp = isV4 ? '10.0.1.1' : 'fd00:1::1'
    const podIp = (pod: number) => cluster.podIp(pod, isV4 ? 4 : 6)
    const gateway = (pod: number) => podIp(pod).replace(/2$/, '1')
    const here = endpoint(podIp(1), 8080, { isLocal: true })
    const there = endpoint(podIp(2), 8080)
    const both = [here, there]
    let next = 1
    /** A TCP and a UDP port, each at vip(n) and ext(n). */
    const state = (
      over: Partial<ServicePort>,
      endpoints: readonly Endpoint[] = both,
    ): ServicePortState => {
      const name = `s${next}`
      const clusterIp = vip(next++)
      return portState(servicePort({ name, ipFamily, clusterIp, ...over }), endpoints)
    }
    const sctp = (one: ServicePortState): ServicePortState[] =>
      (['TCP', 'UDP', 'SCTP'] as const).map((protocol) => ({
        ...one,
        servicePort: servicePort({ ...one.servicePort, id: undefined as never, protocol }),
      }))
    const current = proxier()
    t.teardown(() => current.close())
    const load = (...states: ServicePortState[]) => current.sync(snapshotOf(states.flatMap(sctp)))
    const protocols = [{ udp: false }, { udp: true }]
    const closed = { timeoutMs: SILENCE_MS }

    await t.test('a cluster IP: only what is not a pod is masqueraded', async (t) => {
      const one = state({}, [here, { ...there, isLocal: true }])
      await load(one)
      const host = one.servicePort.clusterIp
      for (const { udp } of protocols) {
        const masqueraded = [`pod-1 ${gateway(1)}`, `pod-2 ${gateway(2)}`]
        t.strictSame(await answers(client, { host, udp }), masqueraded)
        t.strictSame(await answers(node, { host, udp }), masqueraded)
        t.strictSame(await answers(pod2, { host, udp }), [
          `pod-1 ${podIp(2)}`,
          `pod-2 ${gateway(2)}`,
        ])
      }
    })

    await t.test('externalTrafficPolicy Cluster: every client is masqueraded', async (t) => {
      const one = state({ externalIps: [ext(2)], nodePort: 30002 })
      await load(one)
      const masqueraded = [`pod-1 ${gateway(1)}`, `pod-2 ${gateway(2)}`]
      const doors = [{ host: ext(2) }, { host: nodeIp, port: 30002 }]
      for (const door of doors) {
        for (const { udp } of protocols) {
          for (const agent of [client, node, pod2]) {
            t.strictSame(await answers(agent, { ...door, udp }), masqueraded)
          }
        }
      }
      t.equal(await reach(client, { host: nodeIp, port: 80 }), 'ECONNREFUSED', 'another port')
    })

    await t.test(
      'externalTrafficPolicy Local: others reach this node, unmasqueraded',
      async (t) => {
        const one = state({ externalIps: [ext(3)], nodePort: 30003, externalPolicyLocal: true })
        await load(one)
        for (const door of [{ host: ext(3) }, { host: nodeIp, port: 30003 }]) {
          for (const { udp } of protocols) {
            t.strictSame(await answers(client, { ...door, udp }), [`pod-1 ${clientIp}`])
            t.strictSame(await answers(pod1, { ...door, udp }), [
              `pod-1 ${gateway(1)}`,
              `pod-2 ${podIp(1)}`,
            ])
            t.strictSame(await answers(node, { ...door, udp }), [
              `pod-1 ${gateway(1)}`,
              `pod-2 ${gateway(2)}`,
            ])
          }
        }
      },
    )

    await t.test('externalTrafficPolicy Local without an endpoint here', async (t) => {
      const one = state({ externalIps: [ext(4)], nodePort: 30004, externalPolicyLocal: true }, [
        there,
      ])
      await load(one)
      for (const door of [{ host: ext(4) }, { host: nodeIp, port: 30004 }]) {
        for (const { udp } of protocols) {
          t.equal(await reach(client, { ...door, udp, ...closed }), 'silence')
          t.equal(await reach(pod1, { ...door, udp }), `pod-2 ${podIp(1)}`)
          t.equal(await reach(node, { ...door, udp }), `pod-2 ${gateway(2)}`)
        }
      }
      t.equal(await reach(client, { host: one.servicePort.clusterIp }), `pod-2 ${gateway(2)}`)
    })

    await t.test('internalTrafficPolicy Local', async (t) => {
      const open = state({ internalPolicyLocal: true })
      const shut = state({ internalPolicyLocal: true }, [there])
      await load(open, shut)
      t.strictSame(await answers(pod2, { host: open.servicePort.clusterIp }), [`pod-1 ${podIp(2)}`])
      for (const agent of [client, pod1]) {
        t.equal(await reach(agent, { host: shut.servicePort.clusterIp, ...closed }), 'silence')
      }
      t.match(
        await reach(node, { host: shut.servicePort.clusterIp, udp: true, ...closed }),
        /silence|EPERM/,
      )
    })

    await t.test('without any endpoint: refused', async (t) => {
      const one = state({ externalIps: [ext(5)], nodePort: 30005 }, [])
      await load(one)
      const doors = [
        { host: one.servicePort.clusterIp },
        { host: ext(5) },
        { host: nodeIp, port: 30005 },
      ]
      for (const door of doors) {
        for (const { udp } of protocols) {
          for (const agent of [client, node, pod1]) {
            // sendto() may tell a local client that OUTPUT dropped it before the error comes in
            const refused = agent === node && udp ? /ECONNREFUSED|EPERM/ : 'ECONNREFUSED'
            t.match(await reach(agent, { ...door, udp }), refused, door.host)
          }
        }
      }
    })

    await t.test('loadBalancerSourceRanges close load-balancer IPs, not node ports', async (t) => {
      const loadBalancerSourceRanges = ranges(
        isV4 ? '10.0.1.0/24' : 'fd00:1::/64',
        `${clientIp}/${isV4 ? 32 : 128}`,
      )
      const lb = { loadBalancerSourceRanges, nodePort: 30006 }
      const one = state({ ...lb, loadBalancerVips: [ext(6)] })
      const empty = state({ loadBalancerSourceRanges, loadBalancerVips: [ext(7)] }, [])
      await load(one, empty)
      for (const { udp } of protocols) {
        t.match(await reach(client, { host: ext(6), udp }), /^pod-/)
        t.equal(await reach(pod1, { host: ext(6), udp, ...closed }), 'silence')
        t.match(await reach(node, { host: ext(6), udp, ...closed }), /silence|EPERM/)
        t.match(await reach(pod1, { host: nodeIp, port: 30006, udp }), /^pod-/)
        t.equal(await reach(client, { host: ext(7), udp }), 'ECONNREFUSED')
        t.equal(await reach(pod1, { host: ext(7), udp }), 'ECONNREFUSED')
      }
    })

    await t.test('an endpoint that reaches itself sees the node', async (t) => {
      const one = state({ externalIps: [ext(8)], externalPolicyLocal: true }, [here])
      await load(one)
      for (const host of [one.servicePort.clusterIp, ext(8)]) {
        for (const { udp } of protocols) {
          t.equal(await reach(pod1, { host, udp }), `pod-1 ${gateway(1)}`)
        }
      }
    })

    await t.test('session affinity holds a client, at every door', async (t) => {
      const one = state({ affinityTimeoutSeconds: 60, externalIps: [ext(9)], nodePort: 30009 })
      await load(one)
      const [first, ...more] = await answers(client, { host: one.servicePort.clusterIp }, 20)
      t.strictSame(more, [])
      t.strictSame(await answers(client, { host: ext(9) }), [first])
      t.strictSame(await answers(client, { host: nodeIp, port: 30009 }), [first])
    })

    await t.test('loopback serves node ports, for IPv4', async (t) => {
      const one = state({ nodePort: 30010 })
      await load(one)
      const answer = await reach(node, { host: isV4 ? '127.0.0.1' : '::1', port: 30010 })
      t.match(answer, isV4 ? /^pod-/ : 'ECONNREFUSED')
    })

    await t.test('addresses that do not serve node ports', async (t) => {
      options = { ...layoutOptions, nodePortAddresses: [nodeIp] }
      const one = state({ nodePort: 30011 })
      const none = state({ nodePort: 30012 }, [])
      await load(one, none)
      t.match(await reach(client, { host: nodeIp, port: 30011 }), /^pod-/)
      t.equal(await reach(client, { host: nodeIp, port: 30012 }), 'ECONNREFUSED')
      t.equal(await reach(pod1, { host: gateway(1), port: 30011 }), 'ECONNREFUSED')
      options = layoutOptions
    })

    await t.test('classes above the exact ones leave nobody out', async (t) => {
      const addresses = Array.from({ length: 6 }, (_, index) => endpoint(podIp(1), 9000 + index))
      for (const { port } of addresses) await serve(pod1, `port-${port}`, podIp(1), port)
      const one = state({}, addresses)
      await load(one)
      const found = await answers(client, { host: one.servicePort.clusterIp }, 150)
      t.strictSame(
        found.map((text) => text.split(' ')[0]),
        addresses.map(({ port }) => `port-${port}`),
      )
    })

    await t.test('connections that are steered, and bits of others', async (t) => {
      const one = state({}, [here])
      await load(one)
      const host = one.servicePort.clusterIp
      const ip = isV4 ? 'ip' : 'ip6'
      const others = 0xc00000ff
      const steer = (mark: number) =>
        `table ${ip} steer\ndelete table ${ip} steer\n` +
        `table ${ip} steer { chain pre { type filter hook prerouting priority -150; ` +
        `${ip} daddr ${host} ct state new ct mark set ${mark >>> 0}; }; }\n`
      const nft = (text: string) => runChecked(run, 'nft', ['-f', '-'], text)
      t.teardown(() => nft(`table ${ip} steer\ndelete table ${ip} steer\n`))
      const endpoints = `${ip} kube-sluice endpoints`
      await nft(`add element ${endpoints} { ${7 << 8} : ${podIp(2)} . 8080 }\n`)
      const marked = async () => {
        const family = isV4 ? 'ipv4' : 'ipv6'
        const text = await cluster.onNode('conntrack', '-L', '-f', family, '-d', host)
        await cluster.onNode('conntrack', '-D', '-f', family, '-d', host)
        return [...text.matchAll(/mark=(\d+)/g)].map(([, mark]) => Number(mark))
      }
      await marked()
      for (const { masquerade, sees } of [
        { masquerade: true, sees: gateway(2) },
        { masquerade: false, sees: clientIp },
      ]) {
        const mark = (markOf(marks, 7, { masquerade }) | others) >>> 0
        await nft(steer(mark))
        t.strictSame(await answers(client, { host }), [`pod-2 ${sees}`])
        t.strictSame([...new Set(await marked())], [mark])
      }
      await nft(`delete element ${endpoints} { ${7 << 8} }\n`)
      t.strictSame(await answers(client, { host }), [`pod-1 ${gateway(1)}`], 'the standby serves')
      await marked()
      await nft(steer(marks.rejectBit | others))
      for (const { udp } of protocols) t.equal(await reach(client, { host, udp }), 'ECONNREFUSED')
      await nft(steer(others))
      t.strictSame(await answers(client, { host }), [`pod-1 ${gateway(1)}`])
      t.strictSame([...new Set(await marked())], [(marks.masqueradeBit | others) >>> 0])
    })

    await t.test('changes, a restart, a flushed ruleset, the end', async (t) => {
      const one = state({ externalIps: [ext(20)] })
      const host = one.servicePort.clusterIp
      await load(one)
      await load({ ...one, cluster: [there], reachable: [there] })
      t.strictSame(await answers(client, { host }), [`pod-2 ${gateway(2)}`])
      await load({ ...one, cluster: [], local: [], reachable: [], hasAny: false })
      t.equal(await reach(client, { host }), 'ECONNREFUSED')
      await load(one)
      t.equal((await answers(client, { host })).length, 2)
      const other = state({ clusterIp: host }, [here])
      await load(other)
      t.strictSame(await answers(client, { host }), [`pod-1 ${gateway(1)}`], 'a VIP that moved')
      t.notMatch(await reach(client, { host: ext(20), ...closed }), /pod/)
      await runChecked(run, 'nft', ['flush', 'ruleset'])
      await load(one)
      t.equal((await answers(client, { host })).length, 2, 'repaired')
      const successor = proxier()
      await successor.sync(snapshotOf([other]))
      t.strictSame(await answers(client, { host }), [`pod-1 ${gateway(1)}`], 'after a restart')
      t.notMatch(await runChecked(run, 'nft', ['list', 'ruleset']), /udp \. 80/, 'nothing is left')
      await successor.close()
      t.equal(await runChecked(run, 'nft', ['list', 'tables']), '')
    })

    await t.test('SCTP has its elements', async (t) => {
      await load(state({ nodePort: 30020 }))
      const text = await runChecked(run, 'nft', [
        'list',
        'table',
        isV4 ? 'ip' : 'ip6',
        'kube-sluice',
      ])
      t.match(text, /sctp \. 80 \. 1 : /)
      t.match(text, /sctp \. 30020 \. 1 : /)
    })
  }
})
