/**
 * What is set on the node before traffic is served (kube-proxy: pkg/proxy/conntrack/sysctls.go and
 * cmd/kube-proxy/app/server.go): limits and time-outs of connection tracking, and how ready the
 * kernel is to kill this process. Each is written only when it differs, and told with what it was.
 * What cannot be written is one warning and no reason to stop: a node may be locked down, or the
 * values may be the business of somebody else there. (kube-proxy ends.)
 */
import { availableParallelism } from 'node:os'
import { messageOf } from '../lib/errors.js'
import { ensureKernelValue, kernelFiles, type KernelFiles, sysctlPath } from './sysctl.js'

/** kube-proxy's cap: more entries cost more memory than a node has for them. */
const CONNTRACK_CAP = 1_048_576
/** A bucket holds four entries on average when the table is full. */
const ENTRIES_PER_BUCKET = 4
const HASHSIZE = '/sys/module/nf_conntrack/parameters/hashsize'
const OOM_SCORE_ADJ = '/proc/self/oom_score_adj'

export interface NodeSetup {
  /** Per core; 0 leaves nf_conntrack_max as it is. */
  readonly conntrackMaxPerCore: number
  readonly conntrackMin: number
  /** 0 leaves each of these as it is. */
  readonly tcpEstablishedTimeoutMs: number
  readonly tcpCloseWaitTimeoutMs: number
  readonly udpTimeoutMs: number
  readonly udpStreamTimeoutMs: number
  /** false leaves it as it is. */
  readonly tcpBeLiberal: boolean
  /** -1000..1000 */
  readonly oomScoreAdj: number
  /** Where /proc/sys can be written. */
  readonly sysctlRoot: string
}

export interface SetupLog {
  info(context: object, message: string): void
  warn(context: object, message: string): void
}

interface Wanted {
  readonly name: string
  readonly path: string
  readonly value: string
  readonly isEnough?: (before: string) => boolean
}

/** Never throws. */
export function setUpNode(
  setup: NodeSetup,
  log: SetupLog,
  files: KernelFiles = kernelFiles,
  cores: number = availableParallelism(),
): void {
  for (const { name, path, value, isEnough } of wantedValues(setup, cores)) {
    try {
      const { before, isWritten } = ensureKernelValue(files, path, value, isEnough)
      if (isWritten) log.info({ name, before, value }, `${name} is ${value} now, was ${before}`)
    } catch (error) {
      const isAbsent = (error as NodeJS.ErrnoException).code === 'ENOENT'
      const reason = isAbsent ? 'the kernel does not have it' : messageOf(error)
      log.warn({ name, value }, `${name} stays as it is: ${reason}; set it to ${value} on the node`)
    }
  }
}

function wantedValues(setup: NodeSetup, cores: number): Wanted[] {
  const wanted: Wanted[] = []
  const max = conntrackMax(setup, cores)
  if (max > 0) {
    wanted.push(conntrack('max', max, setup), {
      name: 'nf_conntrack hashsize',
      path: HASHSIZE,
      value: String(Math.floor(max / ENTRIES_PER_BUCKET)),
      isEnough: (before) => Number(before) >= Math.floor(max / ENTRIES_PER_BUCKET),
    })
  }
  const timeouts = {
    tcp_timeout_established: setup.tcpEstablishedTimeoutMs,
    tcp_timeout_close_wait: setup.tcpCloseWaitTimeoutMs,
    udp_timeout: setup.udpTimeoutMs,
    udp_timeout_stream: setup.udpStreamTimeoutMs,
  }
  for (const [name, ms] of Object.entries(timeouts)) {
    // Whole seconds, and never 0 for what is not: 0 ends connections at once.
    if (ms > 0) wanted.push(conntrack(name, Math.max(1, Math.floor(ms / 1000)), setup))
  }
  if (setup.tcpBeLiberal) wanted.push(conntrack('tcp_be_liberal', 1, setup))
  const score = String(setup.oomScoreAdj)
  wanted.push({ name: 'oom_score_adj', path: OOM_SCORE_ADJ, value: score })
  return wanted
}

/** 0: not to be set. */
export function conntrackMax(
  { conntrackMaxPerCore, conntrackMin }: NodeSetup,
  cores: number,
): number {
  if (conntrackMaxPerCore === 0) return 0
  return Math.min(CONNTRACK_CAP, Math.max(conntrackMaxPerCore * cores, conntrackMin))
}

function conntrack(name: string, value: number, { sysctlRoot }: NodeSetup): Wanted {
  const key = `net.netfilter.nf_conntrack_${name}`
  return { name: key, path: sysctlPath(key, sysctlRoot), value: String(value) }
}
