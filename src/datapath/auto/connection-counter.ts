/**
 * New connections to Services that rules serve, as the kernel counts them: for as long as nobody
 * decides about them here.
 *
 *   nftables, iptables   one rule of ours in mangle, for first packets with a translated destination
 *   ipvs                 /proc/net/ip_vs_stats
 */
import { readFile } from 'node:fs/promises'

import type { RunCommand } from '../../kernel/command.js'
import { comment, type IptablesChain, LOCK_WAIT } from '../../kernel/iptables.js'
import { OwnedChains } from '../../kernel/owned-chains.js'

export interface ConnectionCounter {
  /** Throws SluiceError ERR_TOOL. */
  start(): Promise<void>
  /** Since the kernel counts; undefined when it cannot be read. */
  read(): Promise<number | undefined>
  /** Removes what counts. Throws SluiceError ERR_TOOL. */
  stop(): Promise<void>
}

/** A packet is in one of the two, and its connection not confirmed yet only at the first one. */
export const LOAD_CHAIN: IptablesChain = {
  table: 'mangle',
  name: 'KUBE-SLUICE-LOAD',
  hooks: ['INPUT', 'POSTROUTING'],
  comment: 'kube-sluice: new connections that rules serve',
  rules: [
    '-m conntrack --ctstate NEW ! --ctstatus CONFIRMED -m conntrack --ctstate DNAT' +
      ` ${comment('kube-sluice: counted for the return')} -j RETURN`,
  ],
}

/** Counts by a rule. `tools`: as iptablesTool() names them, one a family. */
export class RuleCounter implements ConnectionCounter {
  readonly #run: RunCommand
  readonly #chains: ReadonlyMap<string, OwnedChains>

  constructor(run: RunCommand, tools: readonly string[]) {
    this.#run = run
    this.#chains = new Map(tools.map((tool) => [tool, new OwnedChains(run, tool)]))
  }

  async start(): Promise<void> {
    for (const chains of this.#chains.values()) await chains.sync([LOAD_CHAIN], true)
  }

  async read(): Promise<number | undefined> {
    let sum: number | undefined
    for (const tool of this.#chains.keys()) {
      const args = [...LOCK_WAIT, '-t', LOAD_CHAIN.table, '-vnxL', LOAD_CHAIN.name]
      const { status, stdout } = await this.#run(tool, args)
      const packets = status === 0 ? packetsOf(stdout) : undefined
      if (packets !== undefined) sum = (sum ?? 0) + packets
    }
    return sum
  }

  async stop(): Promise<void> {
    for (const chains of this.#chains.values()) await chains.remove([LOAD_CHAIN])
  }
}

/** Of `iptables -vnxL`: two lines of headings, then the rule, whose first column counts packets. */
export function packetsOf(listing: string): number | undefined {
  const [, count] = /^\s*(\d+)\s/.exec(listing.split('\n')[2] ?? '') ?? []
  return count === undefined ? undefined : Number(count)
}

export class IpvsCounter implements ConnectionCounter {
  start(): Promise<void> {
    return Promise.resolve()
  }

  async read(): Promise<number | undefined> {
    return ipvsConnections(await readFile('/proc/net/ip_vs_stats', 'utf8').catch(() => ''))
  }

  stop(): Promise<void> {
    return Promise.resolve()
  }
}

/** Two lines of headings, then the totals in hexadecimal (ip_vs_ctl.c, ip_vs_stats_show). */
export function ipvsConnections(text: string): number | undefined {
  const [, count] = /^\s*([0-9A-F]+)\s/i.exec(text.split('\n')[2] ?? '') ?? []
  return count === undefined ? undefined : Number.parseInt(count, 16)
}
