/**
 * Packets that KUBE-FORWARD has dropped because connection tracking calls them invalid. kube-proxy
 * counts them in an nfacct object; here it is the rule's own counter, which begins anew when the chain
 * is written again: what was counted between the last reading and then is lost.
 */
import type { RunCommand } from '../../kernel/command.js'
import { LOCK_WAIT } from '../../kernel/iptables.js'

export class InvalidDrops {
  readonly #run: RunCommand
  readonly #tool: string
  #last = 0

  /** `tool` as iptablesTool() names it. */
  constructor(run: RunCommand, tool: string) {
    this.#run = run
    this.#tool = tool
  }

  /** Packets since the last call; 0 where the rule is not there. Throws SluiceError ERR_TOOL when the tool hangs. */
  async take(): Promise<number> {
    const args = [...LOCK_WAIT, '-t', 'filter', '-nvxL', 'KUBE-FORWARD']
    const { stdout } = await this.#run(this.#tool, args)
    const packets = Number(/^ *(\d+) .* ctstate INVALID/m.exec(stdout)?.[1] ?? 0)
    const since = packets < this.#last ? packets : packets - this.#last
    this.#last = packets
    return since
  }
}
