/** Whether packets that connection tracking calls invalid are let through (reference 1.8). */
import { readFileSync } from 'node:fs'

const BE_LIBERAL = '/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal'

/** Reads net.netfilter.nf_conntrack_tcp_be_liberal. */
export function passesInvalid(): boolean {
  try {
    return readFileSync(BE_LIBERAL, 'utf8').trim() !== '0'
  } catch {
    // Connection tracking is not loaded yet: its default is 0.
    return false
  }
}
