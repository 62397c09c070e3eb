/**
 * The network of the demo (drawn in topology.ts): a client, a node that forwards, and a pod for
 * every endpoint, each in a namespace, joined by routed veth pairs.
 */
import { messageOf, SluiceError } from '../../lib/errors.js'
import type { NetworkNamespaces } from '../../kernel/netns.js'
import {
  CLIENT,
  NODE,
  NODE_LINK_LOCAL,
  NODE_POD_GATEWAY,
  type PodAddresses,
  type PodPlan,
} from './topology.js'

const POD_DEVICE = 'eth0'
const CLIENT_DEVICE = 'to-client'

export class DemoNetwork {
  readonly #namespaces: NetworkNamespaces
  readonly #pods = new Map<string, string>()
  /** Full names of namespaces. */
  readonly client: string
  readonly node: string
  /** Whether the kernel has IPv6: tried, not guessed. */
  readonly hasIpv6: boolean

  private constructor(namespaces: NetworkNamespaces, made: Pick<DemoNetwork, MadeField>) {
    this.#namespaces = namespaces
    this.client = made.client
    this.node = made.node
    this.hasIpv6 = made.hasIpv6
  }

  /** The client and the node. Throws SluiceError. */
  static async create(namespaces: NetworkNamespaces): Promise<DemoNetwork> {
    const client = await addFirst(namespaces, 'client')
    const node = await namespaces.add('node')
    await namespaces.connect(
      { netns: client, device: 'eth0' },
      { netns: node, device: CLIENT_DEVICE },
    )
    await namespaces.configure(client, [
      `addr add ${CLIENT.ipv4}/30 dev eth0`,
      `route add default via ${NODE.ipv4}`,
    ])
    await namespaces.configure(node, [
      `addr add ${NODE.ipv4}/30 dev ${CLIENT_DEVICE}`,
      `addr add ${NODE_POD_GATEWAY.ipv4}/32 dev lo`,
    ])
    await namespaces.sysctl(node, { 'net.ipv4.ip_forward': '1' })
    const hasIpv6 = await tryIpv6(namespaces, client, node)
    return new DemoNetwork(namespaces, { client, node, hasIpv6 })
  }

  /** A pod's namespace, with its first addresses; returns the namespace's full name. Throws SluiceError. */
  async addPod(pod: PodPlan): Promise<string> {
    const netns = await this.#namespaces.add(`pod-${pod.name}`)
    this.#pods.set(pod.name, netns)
    await this.#namespaces.connect(
      { netns, device: POD_DEVICE },
      { netns: this.node, device: nodeDevice(pod) },
    )
    if (pod.first.ipv6 !== undefined) {
      await this.#namespaces.configure(this.node, [
        `addr add ${NODE_LINK_LOCAL}/64 dev ${nodeDevice(pod)} nodad`,
      ])
    }
    await this.addAddresses(pod, pod.first)
    await this.#namespaces.configure(netns, defaultRoutes(pod.first))
    return netns
  }

  /** Gives a pod further addresses, and the node the routes to them. Throws SluiceError. */
  async addAddresses(pod: PodPlan, { ipv4, ipv6 }: PodAddresses): Promise<void> {
    await this.#namespaces.configure(this.podNetns(pod), [
      `addr add ${ipv4}/32 dev ${POD_DEVICE}`,
      // No duplicate detection: the address is used at once, and nobody else is on the link.
      ...(ipv6 === undefined ? [] : [`addr add ${ipv6}/128 dev ${POD_DEVICE} nodad`]),
    ])
    const device = nodeDevice(pod)
    await this.#namespaces.configure(this.node, [
      `route add ${ipv4}/32 dev ${device} src ${NODE_POD_GATEWAY.ipv4}`,
      ...(ipv6 === undefined
        ? []
        : [`route add ${ipv6}/128 dev ${device} src ${NODE_POD_GATEWAY.ipv6}`]),
    ])
  }

  /** Takes a pod's own end of its link down: the node's routes stay, and nothing answers. Throws SluiceError. */
  async takeLinkDown(pod: PodPlan): Promise<void> {
    await this.#namespaces.configure(this.podNetns(pod), [`link set ${POD_DEVICE} down`])
  }

  /** Brings it up again with the route that the kernel dropped with it (IPv4 pods only: IPv6 addresses go too). */
  async bringLinkUp(pod: PodPlan): Promise<void> {
    await this.#namespaces.configure(this.podNetns(pod), [
      `link set ${POD_DEVICE} up`,
      ...defaultRoutes({ ...pod.first, ipv6: undefined }),
    ])
  }

  /** Full name of the namespace of a pod that was added. Throws SluiceError for another. */
  podNetns(pod: PodPlan): string {
    const netns = this.#pods.get(pod.name)
    if (netns === undefined) throw new SluiceError('ERR_KERNEL', `${pod.name}: has no namespace`)
    return netns
  }
}

type MadeField = 'client' | 'node' | 'hasIpv6'

/** The first namespace of all: what fails here fails for want of rights. */
async function addFirst(namespaces: NetworkNamespaces, name: string): Promise<string> {
  try {
    return await namespaces.add(name)
  } catch (error) {
    throw new SluiceError(
      'ERR_CAPABILITY',
      `the demo cannot make a network namespace: ${messageOf(error)}; in a container, run it with --privileged`,
      { cause: error },
    )
  }
}

async function tryIpv6(
  namespaces: NetworkNamespaces,
  client: string,
  node: string,
): Promise<boolean> {
  try {
    await namespaces.configure(client, [`addr add ${CLIENT.ipv6}/64 dev eth0 nodad`])
    await namespaces.configure(node, [
      `addr add ${NODE.ipv6}/64 dev ${CLIENT_DEVICE} nodad`,
      `addr add ${NODE_POD_GATEWAY.ipv6}/128 dev lo nodad`,
    ])
    await namespaces.configure(client, [`route add default via ${NODE.ipv6}`])
    await namespaces.sysctl(node, { 'net.ipv6.conf.all.forwarding': '1' })
    return true
  } catch {
    return false
  }
}

function defaultRoutes({ ipv6 }: PodAddresses): readonly string[] {
  return [
    `route replace default via ${NODE_POD_GATEWAY.ipv4} dev ${POD_DEVICE} onlink`,
    ...(ipv6 === undefined
      ? []
      : [`route replace default via ${NODE_LINK_LOCAL} dev ${POD_DEVICE}`]),
  ]
}

function nodeDevice(pod: PodPlan): string {
  return `to-${pod.name}`
}
