/**
 * Packets that NFQUEUE has let pass unasked, because a queue or its socket was full. Where queues fail
 * open the kernel counts them nowhere (net/netfilter/nfnetlink_queue.c, __nfqnl_enqueue_packet): they are
 * those that have met our rules and have not come up.
 */
import type { RunCommand } from '../../kernel/command.js'
import type { Clock } from '../../lib/clock.js'

/** Each look runs a tool for each family. */
const INTERVAL_MS = 5_000
/** As `iptables-save -c` prints a rule: `[PACKETS:BYTES] -A CHAIN ...`. */
const QUEUE_RULE = /^\[(\d+):\d+\] -A KUBE-SLUICE-(?:QUEUE|ANSWERS) .*-j NFQUEUE /gm

export interface OverflowCounterOptions {
  readonly run: RunCommand
  /** As iptablesTool() names them, one a family. */
  readonly tools: readonly string[]
  readonly clock: Pick<Clock, 'nowMs'>
  /** Packets that have come up, and those that wait in the queues. */
  readonly taken: () => number
}

export class OverflowCounter {
  readonly #options: OverflowCounterOptions
  #lookedAtMs = -Infinity
  /** At the first look, and when rules have been made anew: what they had counted and nobody had taken. */
  #base: number | undefined
  #met = 0
  #total = 0

  constructor(options: OverflowCounterOptions) {
    this.#options = options
  }

  /** Since the first look, as of the last one. Never goes down. */
  get total(): number {
    return this.#total
  }

  /** To be called when there are rules: the first look is what it counts from. */
  begin(): void {
    if (this.#base === undefined) void this.look()
  }

  /** Looks, unless it has done so just now. Does not throw: without an answer nothing is counted. */
  async look(): Promise<void> {
    const { clock, taken } = this.#options
    if (clock.nowMs() - this.#lookedAtMs < INTERVAL_MS) return
    this.#lookedAtMs = clock.nowMs()
    const met = await this.#packetsOfRules()
    if (met === undefined) return
    // Read after the rules: what was on its way to a queue is in it by now.
    const passed = met - taken()
    if (this.#base === undefined || met < this.#met) this.#base = passed - this.#total
    this.#met = met
    this.#total = Math.max(this.#total, passed - this.#base)
  }

  async #packetsOfRules(): Promise<number | undefined> {
    let sum = 0
    for (const tool of this.#options.tools) {
      try {
        const { status, stdout } = await this.#options.run(`${tool}-save`, ['-c', '-t', 'mangle'])
        if (status !== 0) return undefined
        for (const [, packets] of stdout.matchAll(QUEUE_RULE)) sum += Number(packets)
      } catch {
        return undefined
      }
    }
    return sum
  }
}
