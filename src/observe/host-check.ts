/**
 * Against DNS rebinding: a page of elsewhere whose name is made to lead to this machine could read what
 * is bound to loopback; a browser calls it by that name all the same. So names are checked: those of
 * loopback, and those that are configured. An address is no name that anybody could make lead elsewhere.
 * Pure.
 */
import type { BindAddress } from '../config/run-config.js'
import { hostRange, parseIpAddress, parseIpRange, rangeContains } from '../lib/ip-address.js'

const LOOPBACK = [parseIpRange('127.0.0.0/8') ?? hostRange('127.0.0.1'), hostRange('::1')]

/** Whether a Host header may be answered; absent (HTTP/1.0): it may. */
export type HostCheck = (host: string | undefined) => boolean

/** undefined: bound to other addresses, and no names are configured, so that every name is taken. */
export function hostCheck(bind: BindAddress, names: readonly string[]): HostCheck | undefined {
  const isLoopback = LOOPBACK.some((range) => rangeContains(range, bind.address))
  if (!isLoopback && names.length === 0) return undefined
  const known = new Set(['localhost', ...names.map((name) => name.toLowerCase())])
  return (host) => {
    if (host === undefined || host === '') return true
    const name = nameOf(host)
    return known.has(name) || name.endsWith('.localhost') || parseIpAddress(name) !== undefined
  }
}

/** `node-a.example:10249` is `node-a.example`, `[::1]:10249` is `::1`; lower case, without a final dot. */
function nameOf(host: string): string {
  const [, bracketed, plain] = /^(?:\[([^\]]*)\]|([^:]*))(?::\d*)?$/.exec(host) ?? []
  return (bracketed ?? plain ?? host).toLowerCase().replace(/\.$/, '')
}
