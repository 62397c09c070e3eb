// The network of the scenario: one client, three pods, and for every contender a node of its own
// between them, all of them network namespaces joined by routed veth pairs.
//
//                        10.90.N.1  10.(100+N).P.1
//   client  10.90.N.2 ------- node N ------- 10.(100+N).P.2  pod P       N: contender, P: 1, 2, 3
//
// So all contenders can stay up for the whole run: what one puts into its node (conntrack, rules,
// routes) costs nothing on the way through another's, and each is a program that has warmed up.
import { execFileSync } from 'node:child_process'
import { NetworkNamespaces, removeLeftOvers } from '../../../dist/kernel/netns.js'

const PREFIX = 'ks-perf'
export const POD_COUNT = 3
/** The longest that removing namespaces in an exit handler may take, for each. */
const KILL_TIMEOUT_MS = 5_000
/** Nobody runs out of ports: the defaults give 28,000 a pair of addresses. */
const PORT_RANGE = { 'net.ipv4.ip_local_port_range': '1024 65535' }

/**
 * The way of one contender.
 *
 * @typedef {object} Lane
 * @property {string} node full name of its node's namespace
 * @property {string} vip address that the client connects to; routed to the node, not configured there
 * @property {readonly string[]} pods addresses of the pods on this lane
 */

export class Testbed {
  #namespaces = new NetworkNamespaces(PREFIX)
  #onExit = () => this.#closeSync()
  #client = ''
  /** @type {string[]} */
  #pods = []
  #laneCount = 0

  /** The client and the pods. Throws SluiceError; close() it also then. */
  async open() {
    process.once('exit', this.#onExit)
    await removeLeftOvers(PREFIX)
    this.#client = await this.#namespaces.add('client')
    await this.#namespaces.sysctl(this.#client, PORT_RANGE)
    for (let pod = 1; pod <= POD_COUNT; pod++) {
      this.#pods.push(await this.#namespaces.add(`pod${pod}`))
    }
  }

  /** Full name of the client's namespace. */
  get client() {
    return this.#client
  }

  /** Full names of the pods' namespaces. */
  get pods() {
    return this.#pods
  }

  /** @returns {Promise<Lane>} */
  async addLane() {
    const n = this.#laneCount++
    const namespaces = this.#namespaces
    const node = await namespaces.add(`node${n}`)
    const device = `lane${n}`
    await namespaces.sysctl(node, { ...PORT_RANGE, 'net.ipv4.ip_forward': '1' })
    await namespaces.connect({ netns: this.#client, device }, { netns: node, device: 'client' })
    await namespaces.configure(node, [`addr add 10.90.${n}.1/24 dev client`])
    await namespaces.configure(this.#client, [
      `addr add 10.90.${n}.2/24 dev ${device}`,
      `route add 10.96.${n}.0/24 via 10.90.${n}.1`,
      `route add 10.${100 + n}.0.0/16 via 10.90.${n}.1`,
    ])
    const pods = []
    for (const [index, netns] of this.#pods.entries()) {
      const link = `10.${100 + n}.${index + 1}`
      await namespaces.connect({ netns, device }, { netns: node, device: `pod${index + 1}` })
      await namespaces.configure(node, [`addr add ${link}.1/24 dev pod${index + 1}`])
      await namespaces.configure(netns, [
        `addr add ${link}.2/24 dev ${device}`,
        `route add 10.90.${n}.0/24 via ${link}.1`,
      ])
      pods.push(`${link}.2`)
    }
    return { node, vip: `10.96.${n}.10`, pods }
  }

  /**
   * Runs lines of `ip -batch` in a namespace.
   *
   * @param {string} netns
   * @param {readonly string[]} lines
   */
  async configure(netns, lines) {
    await this.#namespaces.configure(netns, lines)
  }

  /**
   * Starts a program in a namespace; it ends with the testbed.
   *
   * @param {string} netns
   * @param {readonly [string, ...string[]]} command
   * @param {number} log descriptor that its output goes to
   * @returns {import('node:child_process').ChildProcess}
   */
  spawn(netns, command, log) {
    return this.#namespaces.spawn(netns, command, { stdio: ['ignore', log, log] })
  }

  /** Ends all programs and removes all namespaces. Idempotent. */
  async close() {
    await this.#namespaces.close()
    process.off('exit', this.#onExit)
  }

  /** For an end that nobody handled. Children's children (nginx's workers) are ended here. */
  #closeSync() {
    for (const name of this.#namespaces.names) {
      try {
        for (const pid of processesIn(name)) process.kill(pid, 'SIGKILL')
      } catch {
        // Gone in between.
      }
    }
    this.#namespaces.closeSync()
  }
}

/**
 * Ids of the processes in a network namespace.
 *
 * @param {string} netns
 * @returns {number[]}
 */
export function processesIn(netns) {
  const options = /** @type {const} */ ({ encoding: 'utf8', timeout: KILL_TIMEOUT_MS })
  const text = execFileSync('ip', ['netns', 'pids', netns], options)
  return text
    .split(/\s+/)
    .filter((word) => word !== '')
    .map(Number)
}
