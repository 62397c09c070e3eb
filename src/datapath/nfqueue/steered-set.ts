/**
 * The ipset of steered VIPs of one family: what is in it goes to the queue, what is not goes to the
 * standby. Emptying it falls back, with no connection touched.
 *
 * Made by `ipset restore`, changed by netlink. What an earlier process left is read and kept where
 * it is right.
 */
import { addressBytes, type IpFamily } from '../../lib/ip-address.js'
import { type RunCommand, runChecked } from '../../kernel/command.js'
import { destroySets, setName } from '../../kernel/ipset.js'
import type { Netfilter } from '../../kernel/netfilter.js'
import { IpProtocol } from '../../packet/packet-word.js'
import { STEERED_SET } from './steering-rules.js'

const MAX_ENTRIES = 1_048_576

const PROTOCOLS: Readonly<Record<string, number>> = {
  tcp: IpProtocol.tcp,
  udp: IpProtocol.udp,
  sctp: IpProtocol.sctp,
}

export class SteeredSet {
  readonly #run: RunCommand
  readonly #netfilter: Netfilter
  readonly #family: IpFamily
  readonly #name: string
  /** `10.96.0.10,tcp:80`: what the kernel has, as of the last open. */
  #entries = new Set<string>()

  constructor(run: RunCommand, netfilter: Netfilter, family: IpFamily) {
    this.#run = run
    this.#netfilter = netfilter
    this.#family = family
    this.#name = setName(STEERED_SET, family)
  }

  /** Makes the set when it is not there, and learns what is in it. Throws SluiceError ERR_TOOL. */
  async open(): Promise<void> {
    const family = this.#family === 'IPv4' ? 'inet' : 'inet6'
    await runChecked(
      this.#run,
      'ipset',
      ['restore', '-exist'],
      `create ${this.#name} hash:ip,port family ${family} maxelem ${MAX_ENTRIES}\n`,
    )
    const text = await runChecked(this.#run, 'ipset', ['save', this.#name])
    const prefix = `add ${this.#name} `
    this.#entries = new Set(
      text
        .split('\n')
        .filter((line) => line.startsWith(prefix))
        .map((line) => line.slice(prefix.length).trim()),
    )
  }

  /** Brings it to these entries; it must have been opened. Throws KernelError. */
  sync(wanted: ReadonlySet<string>): void {
    this.change([...wanted], [...this.#entries])
  }

  /**
   * Adds what is in `wanted`, deletes what is only in `before`. An entry that moves from one Service
   * to another is in both, and stays. Throws KernelError; the set is to be opened again then.
   */
  change(wanted: readonly string[], before: readonly string[]): void {
    const keep = new Set(wanted)
    const added = wanted.filter((entry) => !this.#entries.has(entry))
    const removed = before.filter((entry) => !keep.has(entry) && this.#entries.has(entry))
    this.#netfilter.changeIpset(this.#name, this.#family, 'add', this.#pack(added))
    this.#netfilter.changeIpset(this.#name, this.#family, 'delete', this.#pack(removed))
    for (const entry of added) this.#entries.add(entry)
    for (const entry of removed) this.#entries.delete(entry)
  }

  /** Destroys it; the rules that use it must be gone. */
  async remove(): Promise<void> {
    this.#entries.clear()
    await destroySets(this.#run, [this.#name])
  }

  /** As Netfilter.changeIpset wants them. */
  #pack(entries: readonly string[]): { bytes: Uint8Array; count: number } {
    const length = this.#family === 'IPv4' ? 4 : 16
    const stride = length + 4
    const bytes = new Uint8Array(entries.length * stride)
    const view = new DataView(bytes.buffer)
    for (const [index, entry] of entries.entries()) {
      const [address = '', rest = ''] = entry.split(',')
      const [protocol = '', port = ''] = rest.split(':')
      bytes.set(addressBytes(address), index * stride)
      bytes[index * stride + length] = PROTOCOLS[protocol] ?? 0
      view.setUint16(index * stride + length + 2, Number(port))
    }
    return { bytes, count: entries.length }
  }
}
