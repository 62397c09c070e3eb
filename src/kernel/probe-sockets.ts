/** TCP connections for probes, of which there may be thousands a second: no object and no event for each. */
import { getSystemErrorName } from 'node:util'
import { familyOf } from '../lib/ip-address.js'
import { loadAddon } from './addon.js'

/** Calls do not throw: a number below 0 is what `errorName` knows. */
export const probeSockets = {
  dial: (ip: string, port: number, resets: boolean): number =>
    loadAddon().dial(familyOf(ip), { address: ip, port }, resets),
  poll: (fds: Int32Array, wants: Uint8Array, results: Int32Array, count: number): number =>
    loadAddon().dialPoll(fds, wants, results, count),
  send: (fd: number, bytes: Uint8Array): number => loadAddon().dialSend(fd, bytes),
  receive: (fd: number, bytes: Uint8Array): number => loadAddon().dialReceive(fd, bytes),
  close: (fd: number): void => {
    loadAddon().closeSocket(fd)
  },
  errorName: (error: number): string => getSystemErrorName(error),
}
