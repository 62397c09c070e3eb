/**
 * Packets that rules of ours have met: what kube-proxy has nfacct objects for, is here the rule's own
 * counter. That one begins anew when its chain is written again, so it is read before.
 */
import type { RunCommand } from '../../kernel/command.js'
import { LOCK_WAIT } from '../../kernel/iptables.js'
import type { IpFamily } from '../../lib/ip-address.js'
import type { RuleMetrics } from '../../observe/rule-metrics.js'
import { LOOPBACK_COUNTER } from './base-rules.js'

type Counted = Parameters<RuleMetrics['packetsAccounted']>[0]

/** The chain of the filter table that has the rule, and how `-nvxL` prints it. */
const RULES: readonly {
  readonly what: Counted
  readonly chain: string
  readonly line: RegExp
  readonly families: readonly IpFamily[]
}[] = [
  {
    what: 'ct_state_invalid_dropped_pkts',
    chain: 'KUBE-FORWARD',
    line: /^ *(\d+) .* ctstate INVALID/m,
    families: ['IPv4', 'IPv6'],
  },
  {
    what: 'localhost_nps_accepted_pkts',
    chain: LOOPBACK_COUNTER,
    line: /^ *(\d+) .* ctorigdst /m,
    families: ['IPv4'],
  },
]

export interface PacketCountsOptions {
  readonly run: RunCommand
  readonly family: IpFamily
  /** As iptablesTool() names it. */
  readonly tool: string
  readonly metrics: Pick<RuleMetrics, 'packetsAccounted'>
}

export class PacketCounts {
  readonly #options: PacketCountsOptions
  readonly #last = new Map<Counted, number>()
  /** The reading that is under way. */
  #reading: Promise<void> | undefined
  /** Whether what is there is of this process, and not being replaced. */
  #isInForce = false

  constructor(options: PacketCountsOptions) {
    this.#options = options
  }

  /**
   * Records the packets since the last reading; nothing before all chains are written, or while they
   * are. A tool that fails leaves the counts as they were.
   */
  async account(): Promise<void> {
    if (!this.#isInForce) return
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined
    })
    await this.#reading
  }

  /** Reads, then has all chains written, whose counters are at 0 from there on. */
  async whileWriting(write: () => Promise<void>): Promise<void> {
    await this.account()
    const wasInForce = this.#isInForce
    this.#isInForce = false
    try {
      await write()
      this.#last.clear()
      this.#isInForce = true
    } catch (error) {
      this.#isInForce = wasInForce
      throw error
    }
  }

  async #read(): Promise<void> {
    const { run, tool, family, metrics } = this.#options
    for (const { what, chain, line, families } of RULES) {
      if (!families.includes(family)) continue
      const args = [...LOCK_WAIT, '-t', 'filter', '-nvxL', chain]
      const result = await run(tool, args).catch(() => undefined)
      const packets = Number(line.exec(result?.stdout ?? '')?.[1] ?? NaN)
      if (Number.isNaN(packets)) continue
      const before = this.#last.get(what) ?? 0
      this.#last.set(what, packets)
      metrics.packetsAccounted(what, packets < before ? packets : packets - before)
    }
  }
}
