/**
 * The redirect capture: nat sends new connections to VIPs to the relay's sockets, for kernels or
 * networks where VIPs cannot be made local. The rules are in capture-redirect-rules.ts.
 *
 * Loaded in the order sets, chains, connection tracking: a rule never names a set that is missing,
 * and an entry that is deleted is not made again by the old rules. Entries of UDP flows to VIPs
 * that changed are deleted, so that no flow stays on a socket that is closed.
 * Owns the sets and chains named KUBE-SLUICE-*. sync and close must not overlap.
 */
import type { IpFamily } from '../../lib/ip-address.js'
import { parseIpAddress } from '../../lib/ip-address.js'
import { deleteUdpEntries, type UdpDestination } from '../../kernel/conntrack.js'
import { iptablesTool, listRules } from '../../kernel/iptables.js'
import { OwnedChains } from '../../kernel/owned-chains.js'
import { OwnedSets } from '../../kernel/owned-sets.js'
import type { Capture, CapturedVip, CapturePlan } from './capture.js'
import { type CaptureOptions, eachFamily, Verification } from './capture-options.js'
import { redirectChains, redirectSetNames, redirectSets } from './capture-redirect-rules.js'

interface UdpTarget extends UdpDestination {
  /** Differs when a flow must be translated anew. */
  readonly fate: string
}

type UdpTargets = ReadonlyMap<string, UdpTarget>

interface FamilyState {
  readonly sets: OwnedSets
  readonly chains: OwnedChains
  readonly tool: string
  /** UDP VIPs as in force; undefined at first. */
  udp: UdpTargets | undefined
  isAbsent: boolean
}

export class RedirectCapture implements Capture {
  readonly name = 'redirect'
  readonly bindsToVip = false
  readonly keepsClientAddress = false
  readonly #options: CaptureOptions
  readonly #verification: Verification
  readonly #families: Readonly<Record<IpFamily, FamilyState>>

  constructor(options: CaptureOptions) {
    const { run, iptablesVariant } = options
    const state = (family: IpFamily): FamilyState => {
      const tool = iptablesTool(family, iptablesVariant)
      const chains = new OwnedChains(run, tool)
      return { sets: new OwnedSets(run), chains, tool, udp: undefined, isAbsent: false }
    }
    this.#options = options
    this.#verification = new Verification(options.clock)
    this.#families = { IPv4: state('IPv4'), IPv6: state('IPv6') }
  }

  async sync(plan: CapturePlan): Promise<void> {
    const isVerifying = this.#verification.isDue()
    const vipsOf = (family: IpFamily): readonly CapturedVip[] =>
      plan.vips.filter((vip) => vip.ipFamily === family)
    await eachFamily(
      (family) => this.#syncFamily(family, vipsOf(family), isVerifying),
      (family) => vipsOf(family).length > 0,
      this.#options.warn,
    )
    if (isVerifying) this.#verification.done()
  }

  async close(): Promise<void> {
    this.#verification.reset()
    const wasInForce = (family: IpFamily): boolean => this.#families[family].udp !== undefined
    const inForce = { IPv4: wasInForce('IPv4'), IPv6: wasInForce('IPv6') }
    await eachFamily(
      (family) => this.#remove(family),
      (family) => inForce[family],
      () => undefined,
    )
  }

  async #syncFamily(
    family: IpFamily,
    vips: readonly CapturedVip[],
    isVerifying: boolean,
  ): Promise<void> {
    const state = this.#families[family]
    if (vips.length === 0) {
      await this.#remove(family)
      return
    }
    const before = state.udp ?? (await this.#leftOverTargets(state))
    const after = udpTargets(vips)
    const changed = changedTargets(before, after, state.udp === undefined)
    // Forgotten until all is done: a failure in between repeats all of it.
    state.udp = undefined
    state.isAbsent = false
    await state.sets.sync(redirectSets(vips, family), isVerifying)
    await state.chains.sync(redirectChains(vips, family), isVerifying)
    await deleteUdpEntries(this.#options.run, family, changed)
    state.udp = after
  }

  async #remove(family: IpFamily): Promise<void> {
    const state = this.#families[family]
    if (state.isAbsent) return
    const before = state.udp ?? (await this.#leftOverTargets(state))
    state.isAbsent = true
    state.udp = undefined
    await state.chains.remove(redirectChains([], family))
    await state.sets.remove(redirectSetNames(family))
    await deleteUdpEntries(this.#options.run, family, [...before.values()])
  }

  /** UDP VIPs of the rules that an earlier process, or a failed sync, has left. */
  async #leftOverTargets(state: FamilyState): Promise<UdpTargets> {
    const capture = { table: 'nat', name: 'KUBE-SLUICE-CAPTURE' } as const
    const rules = (await listRules(this.#options.run, state.tool, capture)) ?? []
    return new Map(
      rules.flatMap((rule): [string, UdpTarget][] => {
        const found = /^-d (\S+)\/\d+ -p udp .*--dport (\d+)/.exec(rule)
        const address = parseIpAddress(found?.[1] ?? '')
        if (address === undefined) return []
        const port = Number(found?.[2])
        return [[`${address} ${port}`, { address, port, fate: '' }]]
      }),
    )
  }
}

function udpTargets(vips: readonly CapturedVip[]): UdpTargets {
  return new Map(
    vips
      .filter(({ protocol }) => protocol === 'UDP')
      .map(({ address, port, action, listen, allowedSources }) => {
        const sources =
          allowedSources === 'all' ? 'all' : allowedSources.map(({ text }) => text).join(' ')
        const fate = `${action} ${listen?.address ?? ''} ${listen?.port ?? ''} ${sources}`
        return [`${address} ${port}`, { address, port, fate }]
      }),
  )
}

function changedTargets(before: UdpTargets, after: UdpTargets, all: boolean): UdpTarget[] {
  const removed = [...before].filter(([key]) => !after.has(key)).map(([, target]) => target)
  const isChanged = ([key, { fate }]: [string, UdpTarget]): boolean =>
    all || before.get(key)?.fate !== fate
  return [...removed, ...[...after].filter(isChanged).map(([, target]) => target)]
}
