/**
 * What turns a verdict into a translation, with the standby that belongs to it: a map and the flat
 * layout of nftables, or iptables rules.
 */
import { readFileSync } from 'node:fs'

import type { RunConfig } from '../../config/run-config.js'
import type { RunCommand } from '../../kernel/command.js'
import { iptablesTool } from '../../kernel/iptables.js'
import type { LocalAddress } from '../../kernel/local-address.js'
import type { Netfilter } from '../../kernel/netfilter.js'
import type { KernelCapabilities } from '../../kernel/probe-capability.js'
import type { Clock } from '../../lib/clock.js'
import { SluiceError } from '../../lib/errors.js'
import type { IpFamily } from '../../lib/ip-address.js'
import type { MarkLayout } from '../../packet/mark-layout.js'
import type { RuleMetrics } from '../../observe/rule-metrics.js'
import { missingOf, MODE_NEEDS, steeringDnat } from '../mode-needs.js'
import { AFFINITY_MAP } from '../nftables/affinity-rules.js'
import { layoutOptionsReader } from '../nftables/layout-options.js'
import { NetlinkElementLoader } from '../nftables/netlink-loader.js'
import { NftablesProxier } from '../nftables/nftables-proxier.js'
import { TABLE } from '../nftables/tables.js'
import { NftablesEndpointMap } from './endpoint-map.js'
import { IptablesEndpointMap } from './iptables-endpoint-map.js'
import { IptablesStandby } from './iptables-standby.js'
import type { NfqueueProxierOptions } from './nfqueue-proxier.js'
import { NftablesStandby } from './standby.js'

export type Dnat = 'nftables' | 'iptables'

/** What of the mode's context is used here. */
export interface TranslationContext {
  readonly config: RunConfig
  readonly kernel: KernelCapabilities
  readonly run: RunCommand
  readonly clock: Clock
  readonly localAddresses: () => readonly LocalAddress[]
  readonly log: { warn(message: string): void }
  readonly metrics: RuleMetrics
}

/** The parts of the mode that depend on it. */
export type Translation = Pick<NfqueueProxierOptions, 'standby' | 'endpointMaps'>

export interface TranslationParts {
  readonly layout: MarkLayout
  readonly families: readonly IpFamily[]
  readonly netfilter: Netfilter
  readonly dnat: Dnat
}

export function makeTranslation(context: TranslationContext, parts: TranslationParts): Translation {
  return parts.dnat === 'nftables' ? inNftables(context, parts) : inIptables(context, parts)
}

function inNftables(
  context: TranslationContext,
  { families, netfilter, layout }: TranslationParts,
): Translation {
  const loader = new NetlinkElementLoader(netfilter)
  const layoutOptions = layoutOptionsReader(context.config, context.localAddresses, layout)
  const proxier = new NftablesProxier({
    run: context.run,
    clock: context.clock,
    metrics: context.metrics,
    loader,
    families,
    layoutOptions,
    countRules: (family) => netfilter.countRules(family, TABLE),
    affinityEntries: () => netfilter.dumpElements('IPv4', TABLE, AFFINITY_MAP),
  })
  return {
    standby: new NftablesStandby(proxier),
    endpointMaps: {
      IPv4: new NftablesEndpointMap(netfilter, 'IPv4', layout),
      IPv6: new NftablesEndpointMap(netfilter, 'IPv6', layout),
    },
  }
}

function inIptables(
  context: TranslationContext,
  { families, layout }: TranslationParts,
): Translation {
  const { config, kernel, run, clock, localAddresses, log, metrics } = context
  const { iptablesVariant } = kernel
  const mapOf = (family: IpFamily) =>
    new IptablesEndpointMap(run, iptablesTool(family, iptablesVariant), layout)
  return {
    standby: new IptablesStandby({
      config,
      clock,
      run,
      metrics,
      iptablesVariant,
      families,
      localAddresses,
      passesInvalid: () => readsTrue('/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal'),
      warn: (message) => {
        log.warn(message)
      },
    }),
    endpointMaps: { IPv4: mapOf('IPv4'), IPv6: mapOf('IPv6') },
  }
}

function readsTrue(file: string): boolean {
  try {
    return readFileSync(file, 'utf8').trim() !== '0'
  } catch {
    // Connection tracking is not loaded yet: its default is 0.
    return false
  }
}

/**
 * What translates: a map of nftables, or iptables rules.
 * @throws SluiceError ERR_CAPABILITY when the mode cannot work, or not in the way that is asked for
 */
export function chooseDnat({ nfqueue }: RunConfig, kernel: KernelCapabilities): Dnat {
  const isWanted = nfqueue.dnat === 'nftables'
  const needs = [...MODE_NEEDS.nfqueue, ...(isWanted ? MODE_NEEDS.nftables : [])]
  const missing = missingOf(kernel, needs)
  if (missing.length > 0) {
    const lines = missing.map(
      ({ name, reason, fix }) =>
        `${name} (${reason ?? 'no reason given'}; try: ${fix ?? 'nothing'})`,
    )
    const what = isWanted ? '--nfqueue-dnat nftables' : '--proxy-mode nfqueue'
    throw new SluiceError(
      'ERR_CAPABILITY',
      `${what} cannot work here, it misses ${lines.join(', ')}; use ${isWanted ? '--nfqueue-dnat auto' : '--proxy-mode userspace'}`,
    )
  }
  return steeringDnat(nfqueue.dnat, kernel)
}
