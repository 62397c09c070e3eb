/**
 * Kernel parameters of the ipvs mode, written only when they differ.
 * Source: kube-proxy pkg/proxy/ipvs/proxier.go (NewProxier).
 */
import {
  ensureLogged,
  type KernelFiles,
  kernelFiles,
  type ParameterLog,
  SYSCTL_ROOT,
} from '../../kernel/sysctl.js'
import { messageOf } from '../../lib/errors.js'

interface Parameter {
  readonly key: string
  readonly value: string
  /** Without it the mode does not work. */
  readonly isRequired: boolean
}

export interface IpvsParameters {
  readonly strictArp: boolean
  /** Of the kernel, as uname(2) has it. */
  readonly release: string
  /** Where /proc/sys can be written. */
  readonly root?: string
}

/**
 * Sets them; the log has what each was before, and a warning for one that could not be set and can be
 * done without. Throws what the file system throws for one that cannot.
 */
export function setIpvsParameters(
  { strictArp, release, root = SYSCTL_ROOT }: IpvsParameters,
  log: ParameterLog,
  files: KernelFiles = kernelFiles,
): void {
  for (const { key, value, isRequired } of parameters(strictArp, release)) {
    try {
      ensureLogged(log, key, { files, root, value })
    } catch (error) {
      if (isRequired) throw error
      log.warn(`${key} is not set to ${value}: ${messageOf(error)}`)
    }
  }
}

function parameters(strictArp: boolean, release: string): readonly Parameter[] {
  const optional = (key: string, value: string) => ({ key, value, isRequired: false })
  const required = (key: string, value: string) => ({ key, value, isRequired: true })
  return [
    // Masquerading and the rules behind it go by the connection's entry in conntrack.
    required('net.ipv4.vs.conntrack', '1'),
    // From 4.1 to 5.8 a port that is used again within a minute delayed the connection by a second.
    ...(isBetween(release, [4, 1], [5, 9]) ? [optional('net.ipv4.vs.conn_reuse_mode', '0')] : []),
    // A connection to an endpoint that has gone ends at once, in place of timing out.
    optional('net.ipv4.vs.expire_nodest_conn', '1'),
    // A client that stuck to an endpoint which drains gets another one.
    optional('net.ipv4.vs.expire_quiescent_template', '1'),
    required('net.ipv4.ip_forward', '1'),
    ...(strictArp
      ? [
          optional('net.ipv4.conf.all.arp_ignore', '1'),
          optional('net.ipv4.conf.all.arp_announce', '2'),
        ]
      : []),
  ]
}

function isBetween(
  release: string,
  from: readonly [number, number],
  before: readonly [number, number],
): boolean {
  const [major = 0, minor = 0] = release.split('.').map((part) => Number.parseInt(part, 10))
  const number = major * 1000 + minor
  return number >= from[0] * 1000 + from[1] && number < before[0] * 1000 + before[1]
}
