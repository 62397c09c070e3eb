/**
 * The part of the native addon that speaks netlink with nf_tables, ipset and connection tracking,
 * call by call; see addon-types.ts for what all calls have in common.
 */
import type { IpFamily } from '../lib/ip-address.js'

/** Elements of one set or map of nf_tables: records of a fixed length, one after the other. */
export interface ElementOperation {
  readonly verb: 'add' | 'delete' | 'flush'
  readonly family: IpFamily
  readonly table: string
  readonly set: string
  readonly count: number
  /** Bytes of a key, at most 64; the fields of a concatenation are padded to 4 each. */
  readonly keyLength: number
  readonly keys: Uint8Array
  /** The other end of each key, for intervals in concatenations. */
  readonly keyEnds?: Uint8Array
  /** Bytes of what a map leads to, at most 64; 0 for a set and for a verdict map. */
  readonly dataLength: number
  readonly data?: Uint8Array
  /** Of a verdict map: the chains that elements go to, and the index of each element's. */
  readonly chains?: readonly string[]
  readonly verdicts?: Uint32Array
  /** What `nft list` prints beside each element: comment i ends at commentEnds[i]; at most 127 bytes. */
  readonly comments?: Uint8Array
  readonly commentEnds?: Uint32Array
}

/** In `verdicts`: not a chain. */
export const VERDICT_ACCEPT = 0xffffffff
export const VERDICT_DROP = 0xfffffffe

export interface ElementDump {
  readonly count: number
  readonly keyLength: number
  readonly dataLength: number
  readonly keys: Uint8Array
  readonly data: Uint8Array
  readonly comments: Uint8Array
  readonly commentEnds: Uint32Array
}

/** A subscription or dump that is open; what it is, only native code knows. */
export interface ConntrackHandle {
  readonly brand: 'conntrack'
}

export interface NetfilterAddon {
  /** A netlink socket for the calls that take one. Throws EMFILE, ENFILE; EPROTONOSUPPORT without nfnetlink. */
  openNetfilter(): number
  /**
   * All of it or nothing. Throws ENOENT when a set, or an element to delete, is not there, EEXIST or EBUSY for an
   * element that is there with other data, ENFILE when a set has no room for more, EINVAL for a key or data
   * of another length than the set's, EPERM without CAP_NET_ADMIN, ETIMEDOUT, ENOMEM.
   */
  changeElements(fd: number, operations: readonly ElementOperation[]): void
  /** Every element. Throws ENOENT when the set is not there, EAGAIN when it never stood still, EPERM, ETIMEDOUT, ENOMEM. */
  dumpElements(fd: number, family: IpFamily, table: string, set: string): ElementDump
  /** Rules of an nf_tables chain ('': of the whole table), 0 of what is not there. Throws EAGAIN when it never stood still. */
  countRules(fd: number, family: IpFamily, table: string, chain: string): number
  /** Of a table of the legacy iptables, which the kernel makes when it is not there. Throws ENOENT when it cannot. */
  legacyTableSize(
    family: IpFamily,
    table: string,
  ): { readonly entries: number; readonly bytes: number }
  /**
   * Adds or deletes entries of a hash:ip,port set; those that are there (or not) already do no
   * harm. An entry is the address, the protocol (1 byte), 0, the port (2 bytes, network order). Throws
   * ENOENT without such a set, EINVAL for a name that is too long, the codes of ipset (E4352 and up: the
   * set is full), EPERM, ETIMEDOUT, ENOMEM.
   */
  changeIpset(
    ...args: [
      fd: number,
      set: string,
      family: IpFamily,
      isAdd: boolean,
      entries: Uint8Array,
      count: number,
    ]
  ): void
  /** Length of a conntrack record in 32-bit words; ConntrackWord has their places. */
  readonly conntrackWords: number
  /**
   * Subscribes to connections whose mark has a bit of `markMask` (0: to all): new, destroyed, and of
   * TCP those that begin to close; with `answers` also those whose SYN is answered. Throws EPERM without
   * CAP_NET_ADMIN, EMFILE, ENOMEM.
   */
  conntrackEvents(markMask: number, bufferBytes: number, answers: boolean): ConntrackHandle
  /** From now on with or without answered SYNs; the mask as it was. Throws when the kernel refuses it. */
  conntrackAnswers(handle: ConntrackHandle, markMask: number, answers: boolean): void
  /**
   * Asks for the entries with (mark & markMask) === mark, of one protocol (0: all). Throws EMFILE, ENOMEM, and what
   * send(2) has; what the kernel says to it is thrown by conntrackReceive.
   */
  conntrackDump(family: IpFamily, mark: number, markMask: number, protocol: number): ConntrackHandle
  /**
   * Records written, 0 when there is nothing now; does not block. Of a dump: -1 when it is complete,
   * -2 when the table changed under it. Throws ENOBUFS when events were lost; of a dump EPERM, and what
   * else the kernel answers; for a handle that is closed, and records without room for one.
   */
  conntrackReceive(handle: ConntrackHandle, records: Uint32Array): number
  /** To wait for; owned by the handle. Throws when that is closed. */
  conntrackFd(handle: ConntrackHandle): number
  /** Receive buffer as the kernel granted it. Throws when the handle is closed. */
  conntrackBufferBytes(handle: ConntrackHandle): number
  /** Twice is fine. Throws nothing else than for no handle. */
  conntrackClose(handle: ConntrackHandle): void
  /**
   * Deletes the entry with this original tuple (source, destination, source port << 16 |
   * destination port, protocol: ten words); whether there was one. Throws EPERM without CAP_NET_ADMIN,
   * ETIMEDOUT.
   */
  conntrackDelete(fd: number, family: IpFamily, tuple: Uint32Array): boolean
  /**
   * Deletes all with (mark & markMask) === mark; neither may be 0. The kernel must know the filter
   * (every one since 3.3 does): without it the whole table would go. Throws EINVAL for a 0, EPERM,
   * ETIMEDOUT.
   */
  conntrackDeleteMarked(fd: number, family: IpFamily, mark: number, markMask: number): void
}
