/**
 * The suite's network: the test cluster with three pods, another node's pods behind a link of
 * their own, and the world, where the node's default route leads and whoever is not a Service is.
 *
 *   outside 10.0.1.2 ---- node 10.0.1.1 ---- pod-1, pod-2 (endpoints), pod (a client)
 *                          |       |
 *       world 10.0.7.2 ----+       +---- 10.0.8.2 remote-1, remote-2, remote (a client)
 *
 * Endpoints listen on 8080 and 9090 and say who they are and whom they see; so does the world, on
 * ports 80 and 81 of every address that a VIP of the suite could have.
 */
import { Agent } from '../fixtures/agent.js'
import { rootOnly, startCluster, type TestCluster } from '../fixtures/test-cluster.js'
import type { Source } from './packet-case.js'
import { ENDPOINTS, FAMILIES, REMOTE_LINK, SOURCES, VIP_RANGES, WORLD_LINK } from './place.js'
import { listenAll } from './probe.js'
import { SctpClient, serveSctp } from './sctp.js'

export { rootOnly }

export interface SuiteNetwork {
  readonly cluster: TestCluster
  readonly clients: Readonly<Record<Source, Agent>>
  readonly sctpClients: Readonly<Record<Source, SctpClient>>
}

/** @param hasSctp whether endpoints answer on SCTP: a process more for each place that they are in */
export async function startNetwork(hasSctp = true): Promise<SuiteNetwork> {
  const cluster = await startCluster(3)
  try {
    const [pod1, pod2, pod] = cluster.pods as readonly [Agent, Agent, Agent]
    const nodeNs = nameOf(cluster, 'node')
    await quietLimits(cluster, 'node')
    const remote = await addNeighbour(cluster, 'remote', REMOTE_LINK)
    const world = await addNeighbour(cluster, 'world', WORLD_LINK)
    await Promise.all([addRemotePods(cluster, nodeNs), addWorld(cluster, nodeNs)])
    await quietLimits(cluster, 'world')
    const servers: readonly (readonly [Agent, string, readonly (keyof typeof ENDPOINTS)[]])[] = [
      [pod1, 'pod-1', ['pod-1']],
      [pod2, 'pod-2', ['pod-2']],
      [remote, 'remote', ['remote-1', 'remote-2']],
      [cluster.node, 'node', ['host']],
    ]
    await Promise.all([
      ...servers.flatMap(([agent, netns, names]) => {
        const listens = names.flatMap((name) =>
          FAMILIES.flatMap((family) => [
            { name, host: ENDPOINTS[name][family], port: 8080, udp: true },
            { name: `${name}/9090`, host: ENDPOINTS[name][family], port: 9090, udp: true },
          ]),
        )
        // On the node it would take what is to be answered by a host without SCTP.
        const isServed = hasSctp && agent !== cluster.node
        return [
          agent.run(listenAll, listens),
          ...(isServed ? [serveSctp(cluster.namespaces, nameOf(cluster, netns), listens)] : []),
        ]
      }),
      // One socket for all of its addresses answers on TCP; on UDP it would answer from another one.
      world.run(
        listenAll,
        [80, 81].map((port) => ({ name: 'world', host: '::', port, udp: false })),
      ),
    ])
    return {
      cluster,
      clients: { outside: cluster.client, node: cluster.node, pod, 'pod-1': pod1, remote },
      sctpClients: {
        outside: sctpClient(cluster, 'client'),
        node: sctpClient(cluster, 'node'),
        pod: sctpClient(cluster, 'pod-3'),
        'pod-1': sctpClient(cluster, 'pod-1'),
        remote: sctpClient(cluster, 'remote'),
      },
    }
  } catch (error) {
    await cluster.close()
    throw error
  }
}

function nameOf({ namespaces }: TestCluster, name: string): string {
  return namespaces.names.find((full) => full.endsWith(`-${name}`))!
}

function sctpClient(cluster: TestCluster, name: string): SctpClient {
  return new SctpClient(cluster.namespaces, nameOf(cluster, name))
}

/** An ICMP error for each of many rejected connections in a second. */
async function quietLimits(cluster: TestCluster, name: string): Promise<void> {
  await cluster.namespaces.sysctl(nameOf(cluster, name), {
    'net.ipv4.icmp_ratemask': '0',
    'net.ipv4.icmp_ratelimit': '0',
    'net.ipv6.icmp.ratelimit': '0',
  })
}

async function addNeighbour(
  { namespaces, ...cluster }: TestCluster,
  name: string,
  link: typeof REMOTE_LINK,
): Promise<Agent> {
  const nodeNs = nameOf({ namespaces, ...cluster }, 'node')
  const netns = await namespaces.add(name)
  await namespaces.connect({ netns, device: 'eth0' }, { netns: nodeNs, device: name })
  await namespaces.configure(netns, [
    `addr add ${link.IPv4}.2/24 dev eth0`,
    `addr add ${link.IPv6}2/64 dev eth0 nodad`,
    `route add default via ${link.IPv4}.1`,
    `route add default via ${link.IPv6}1`,
  ])
  await namespaces.configure(nodeNs, [
    `addr add ${link.IPv4}.1/24 dev ${name}`,
    `addr add ${link.IPv6}1/64 dev ${name} nodad`,
  ])
  return Agent.start(namespaces, netns)
}

async function addRemotePods(cluster: TestCluster, nodeNs: string): Promise<void> {
  const { namespaces } = cluster
  const remotes = [ENDPOINTS['remote-1'], ENDPOINTS['remote-2'], SOURCES.remote]
  await namespaces.configure(
    nameOf(cluster, 'remote'),
    remotes.flatMap(({ IPv4, IPv6 }) => [
      `addr add ${IPv4}/32 dev lo`,
      `addr add ${IPv6}/128 dev lo nodad`,
    ]),
  )
  await namespaces.configure(nodeNs, [
    `route add 10.244.128.0/17 via ${REMOTE_LINK.IPv4}.2`,
    ...remotes.map(({ IPv6 }) => `route add ${IPv6}/128 via ${REMOTE_LINK.IPv6}2`),
  ])
}

async function addWorld(cluster: TestCluster, nodeNs: string): Promise<void> {
  const { namespaces } = cluster
  await namespaces.configure(
    nameOf(cluster, 'world'),
    [...VIP_RANGES.IPv4, ...VIP_RANGES.IPv6].map((range) => `route add local ${range} dev lo`),
  )
  await namespaces.configure(nodeNs, [
    `route replace default via ${WORLD_LINK.IPv4}.2 src ${SOURCES.node.IPv4}`,
    `route replace default via ${WORLD_LINK.IPv6}2 src ${SOURCES.node.IPv6}`,
  ])
}
