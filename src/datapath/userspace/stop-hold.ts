/**
 * What the userspace mode leaves in the kernel when it ends for another process to take its place:
 * new connections to Services get no answer, so that their clients try again and meet the next
 * process, where a closed socket would refuse them, and a packet that nobody translates any more would
 * leave an entry of connection tracking that keeps its connection from the relay for good.
 *
 *   mangle PREROUTING, OUTPUT   KUBE-SLUICE-HOLD   first packets to what is in the set: DROP
 *
 * The entries expire by themselves: when no next process comes, what is left has no effect. Dropped in
 * mangle, a packet leaves no entry of connection tracking. Pure but for StopHold.
 */
import type { RunCommand } from '../../kernel/command.js'
import { countSetEntries, destroySets, type IpSet, setName } from '../../kernel/ipset.js'
import { comment, type IptablesChain } from '../../kernel/iptables.js'
import { OwnedChains } from '../../kernel/owned-chains.js'
import { OwnedSets } from '../../kernel/owned-sets.js'
import { familyOf, type IpFamily } from '../../lib/ip-address.js'
import { FAMILIES } from './capture-options.js'
import type { PlannedVip } from './vip-plan.js'

const SET = 'KUBE-SLUICE-HOLD'

/** Who is held: before the sockets are closed their UDP sessions go on, after that there are none. */
type Held = 'new' | 'all'

export function holdSetNames(family: IpFamily): readonly string[] {
  return [setName(SET, family)]
}

export function holdChains(family: IpFamily, held: Held = 'new'): readonly IptablesChain[] {
  const match = `-m set --match-set ${setName(SET, family)} dst,dst`
  const note = comment('kube-sluice: waits for the next process')
  const datagrams = held === 'all' ? '-p udp' : '-p udp -m conntrack --ctstate NEW'
  return [
    {
      table: 'mangle',
      name: 'KUBE-SLUICE-HOLD',
      hooks: ['PREROUTING', 'OUTPUT'],
      comment: 'kube-sluice: Services between two processes',
      rules: [`-p tcp --syn ${match} ${note} -j DROP`, `${datagrams} ${match} ${note} -j DROP`],
    },
  ]
}

export interface StopHoldOptions {
  readonly run: RunCommand
  readonly toolOf: (family: IpFamily) => string
  /** 0: nothing is held. */
  readonly holdMs: () => number
}

export class StopHold {
  readonly #options: StopHoldOptions
  /** By family; those that have VIPs. */
  readonly #chains = new Map<IpFamily, OwnedChains>()

  constructor(options: StopHoldOptions) {
    this.#options = options
  }

  /**
   * Holds new connections to these VIPs from here on; returns whether it does. Throws SluiceError
   * ERR_TOOL, e.g. where the kernel has no ipset or the process no NET_RAW; then nothing is held.
   */
  async begin(vips: Iterable<PlannedVip>): Promise<boolean> {
    const { run, toolOf, holdMs } = this.#options
    if (holdMs() <= 0) return false
    try {
      await this.#load(vips)
      return true
    } catch (error) {
      this.#chains.clear()
      await releaseHold(run, toolOf).catch(() => undefined)
      throw error
    }
  }

  async #load(vips: Iterable<PlannedVip>): Promise<void> {
    const { run, toolOf, holdMs } = this.#options
    const served = [...vips].filter(({ action }) => action === 'balance')
    for (const family of FAMILIES) {
      const own = served.filter((vip) => vip.ipFamily === family)
      if (own.length === 0) continue
      await new OwnedSets(run).sync([holdSet(own, family, holdMs())], true)
      const chains = new OwnedChains(run, toolOf(family))
      await chains.sync(holdChains(family), true)
      this.#chains.set(family, chains)
    }
  }

  /** The sockets are about to close: also datagrams of sessions are held. Throws SluiceError ERR_TOOL. */
  async widen(): Promise<void> {
    for (const [family, chains] of this.#chains) {
      await chains.sync(holdChains(family, 'all'), false)
    }
  }
}

/** Ends what an earlier process has left. Throws SluiceError ERR_TOOL when it cannot be removed. */
export async function releaseHold(
  run: RunCommand,
  toolOf: (family: IpFamily) => string,
): Promise<void> {
  // No ipset, or a kernel without it: nothing is held.
  const sets = await countSetEntries(run).catch(() => new Map<string, number>())
  for (const family of FAMILIES) {
    const names = holdSetNames(family).filter((name) => sets.has(name))
    if (names.length === 0) continue
    await new OwnedChains(run, toolOf(family)).remove(holdChains(family))
    await destroySets(run, names)
  }
}

function holdSet(vips: readonly PlannedVip[], family: IpFamily, holdMs: number): IpSet {
  return {
    name: SET,
    type: 'hash:ip,port',
    family,
    timeoutSeconds: Math.max(1, Math.round(holdMs / 1000)),
    entries: vips
      .filter(({ address }) => familyOf(address) === family)
      .map(({ address, protocol, port }) => `${address},${protocol.toLowerCase()}:${port}`),
  }
}
