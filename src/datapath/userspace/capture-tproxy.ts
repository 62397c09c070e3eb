/**
 * The tproxy capture: anyip, and the relay may dial endpoints with the client's own address. What an
 * endpoint answers is then addressed to the client; the divert brings it back to the relay's socket.
 *
 *   client C -> VIP -> relay ==(from C, IP_TRANSPARENT)==> endpoint
 *   endpoint -> C:  mangle PREROUTING  KUBE-SLUICE-DIVERT   a transparent socket has this 5-tuple: mark
 *                   ip rule            1075                 marked: table 1075, `local default dev lo`
 *                   mangle INPUT       KUBE-SLUICE-UNMARK   the mark is gone before anyone else looks
 *
 * It sees only what comes in by an interface: answers of endpoints in the node's own network
 * namespace leave by OUTPUT and are not diverted, so the relay must not use the client's address
 * towards an address of the node. Neither rp_filter nor ip_forward is changed; src_valid_mark must
 * be 0 on the interfaces of the endpoints (its default): with it the marked look-up is applied to
 * the source of the answer too, which then seems to be local.
 * Owns, besides the routes of anyip: both chains, the rules and the table of ip-rule.ts.
 */
import type { IpFamily } from '../../lib/ip-address.js'
import { ensureMarkRule, hasMarkRule, removeMarkRules } from '../../kernel/ip-rule.js'
import { comment, type IptablesChain, iptablesTool } from '../../kernel/iptables.js'
import { OwnedChains } from '../../kernel/owned-chains.js'
import type { Capture, CapturePlan } from './capture.js'
import { AnyipCapture } from './capture-anyip.js'
import { type CaptureOptions, eachFamily, needsFamily, Verification } from './capture-options.js'

export class TproxyCapture implements Capture {
  readonly name = 'tproxy'
  readonly bindsToVip = true
  readonly keepsClientAddress = true
  readonly #options: CaptureOptions
  readonly #anyip: AnyipCapture
  readonly #mark: number
  readonly #chains: Readonly<Record<IpFamily, OwnedChains>>
  readonly #verification: Verification
  /** Families whose divert is known to be in force, or known to be absent. */
  readonly #inForce = new Map<IpFamily, boolean>()

  constructor(options: CaptureOptions) {
    const { run, iptablesVariant, tproxyMarkBit } = options
    const chains = (family: IpFamily): OwnedChains =>
      new OwnedChains(run, iptablesTool(family, iptablesVariant))
    this.#options = options
    this.#anyip = new AnyipCapture(options)
    this.#mark = 2 ** tproxyMarkBit
    this.#chains = { IPv4: chains('IPv4'), IPv6: chains('IPv6') }
    this.#verification = new Verification(options.clock)
  }

  async sync(plan: CapturePlan): Promise<void> {
    const isVerifying = this.#verification.isDue()
    const needs = (family: IpFamily): boolean => needsFamily(plan, family)
    await eachFamily(
      (family) => (needs(family) ? this.#divert(family, isVerifying) : this.#release(family)),
      needs,
      this.#options.warn,
    )
    if (isVerifying) this.#verification.done()
    // Routes last: from the first connection on answers find their way back.
    await this.#anyip.sync(plan)
  }

  async close(): Promise<void> {
    const wasInForce = new Map(this.#inForce)
    this.#verification.reset()
    this.#inForce.clear()
    try {
      await this.#anyip.close()
    } finally {
      await eachFamily(
        (family) => this.#release(family),
        (family) => wasInForce.get(family) === true,
        () => undefined,
      )
    }
  }

  async #divert(family: IpFamily, isVerifying: boolean): Promise<void> {
    const { run } = this.#options
    const isKnown = this.#inForce.get(family) === true && !isVerifying
    this.#inForce.delete(family)
    if (!isKnown && !(await hasMarkRule(run, family, this.#mark))) {
      await ensureMarkRule(run, family, this.#mark)
    }
    await this.#chains[family].sync(divertChains(this.#mark), isVerifying)
    this.#inForce.set(family, true)
  }

  async #release(family: IpFamily): Promise<void> {
    if (this.#inForce.get(family) === false) return
    // Absent or not to be had (IPv6 switched off): either way there is nothing to come back to.
    this.#inForce.set(family, false)
    await this.#chains[family].remove(divertChains(this.#mark))
    await removeMarkRules(this.#options.run, family)
  }
}

/** The chains of the divert for a mark of one bit. For removal their names and hooks count only. */
export function divertChains(mark: number): readonly IptablesChain[] {
  const bit = `0x${mark.toString(16)}`
  const answer = comment('kube-sluice: answer of an endpoint to a connection of the relay')
  return [
    {
      table: 'mangle',
      name: 'KUBE-SLUICE-DIVERT',
      hooks: ['PREROUTING'],
      comment: 'kube-sluice: answers of endpoints to the relay',
      // No -p: the socket match knows TCP, UDP and the ICMP errors that belong to them, and without
      // the errors the relay would never learn that nobody listens at an endpoint's UDP port.
      rules: [`-m socket --transparent ${answer} -j MARK --set-xmark ${bit}/${bit}`],
    },
    {
      table: 'mangle',
      name: 'KUBE-SLUICE-UNMARK',
      hooks: ['INPUT'],
      comment: 'kube-sluice: the mark of the relay ends here',
      rules: [
        `-m mark --mark ${bit}/${bit} ${comment('kube-sluice: delivered, mark no longer needed')}` +
          ` -j MARK --set-xmark 0x0/${bit}`,
      ],
    },
  ]
}
