/**
 * Programming netfilter by netlink, without a process per change: elements of nf_tables sets and
 * maps, entries of ipsets, single entries of the connection table. One socket; one thread at a time.
 */
import type { IpFamily } from '../lib/ip-address.js'
import { loadAddon } from './addon.js'
import { kernelCall } from './kernel-call.js'
import type { ElementDump, ElementOperation } from './netfilter-addon-types.js'
import { closeSocket } from './socket.js'

export class Netfilter {
  /** Undefined once it is closed: the number may be another descriptor's by then. */
  #openFd: number | undefined

  constructor() {
    this.#openFd = kernelCall('open netfilter', () => loadAddon().openNetfilter())
  }

  /**
   * Carries out all operations in one transaction, or none.
   * @throws KernelError, e.g. ENOENT when a set, or an element to delete, is not there
   */
  changeElements(operations: readonly ElementOperation[]): void {
    if (operations.length === 0) return
    const sets = [...new Set(operations.map(({ table, set }) => `${table}/${set}`))]
    kernelCall(`change nftables elements of ${sets.join(', ')}`, () => {
      loadAddon().changeElements(this.#fd, operations)
    })
  }

  /** Every element of a set. Throws KernelError: ENOENT when it is not there. */
  dumpElements(family: IpFamily, table: string, set: string): ElementDump {
    return kernelCall(`list nftables elements of ${table}/${set}`, () =>
      loadAddon().dumpElements(this.#fd, family, table, set),
    )
  }

  /** Rules of an nf_tables chain, or of the whole table; 0 of what is not there. Microseconds. Throws KernelError. */
  countRules(family: IpFamily, table: string, chain = ''): number {
    return kernelCall(`count nftables rules of ${table} ${chain}`, () =>
      loadAddon().countRules(this.#fd, family, table, chain),
    )
  }

  /** Adds and deletes entries (ipsetEntries) of a hash:ip,port set. Throws KernelError. */
  changeIpset(
    set: string,
    family: IpFamily,
    verb: 'add' | 'delete',
    entries: { readonly bytes: Uint8Array; readonly count: number },
  ): void {
    if (entries.count === 0) return
    kernelCall(`${verb} ${entries.count} entries of ipset ${set}`, () => {
      const { bytes, count } = entries
      loadAddon().changeIpset(this.#fd, set, family, verb === 'add', bytes, count)
    })
  }

  /** Deletes a connection's entry by its original tuple (ten words); whether there was one. */
  deleteConnection(family: IpFamily, tuple: Uint32Array): boolean {
    return kernelCall('delete conntrack entry', () =>
      loadAddon().conntrackDelete(this.#fd, family, tuple),
    )
  }

  /** Deletes all entries with (mark & markMask) === mark, chosen in the kernel. Throws KernelError. */
  deleteMarkedConnections(family: IpFamily, mark: number, markMask: number): void {
    kernelCall(`delete conntrack entries with mark 0x${mark.toString(16)}`, () => {
      loadAddon().conntrackDeleteMarked(this.#fd, family, mark, markMask)
    })
  }

  /** Idempotent. */
  close(): void {
    const fd = this.#openFd
    if (fd === undefined) return
    this.#openFd = undefined
    closeSocket(fd)
  }

  get #fd(): number {
    if (this.#openFd === undefined) throw new TypeError('the netfilter handle is closed')
    return this.#openFd
  }
}

/**
 * A text that differs when somebody has added or removed rules of a table of the legacy iptables.
 * Microseconds. Throws KernelError: ENOENT when the kernel has no such table.
 */
export function legacyTableSize(family: IpFamily, table: string): string {
  const { entries, bytes } = kernelCall(`size of iptables table ${table}`, () =>
    loadAddon().legacyTableSize(family, table),
  )
  return `${entries} rules, ${bytes} bytes`
}
