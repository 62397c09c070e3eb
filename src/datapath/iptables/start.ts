/** Puts the iptables mode together: what the kernel lacks is said in one line before anything is touched. */
import { SluiceError } from '../../lib/errors.js'
import { iptablesTool } from '../../kernel/iptables.js'
import { legacyTableSize, Netfilter } from '../../kernel/netfilter.js'
import type { KernelCapabilities } from '../../kernel/probe-capability.js'
import type { IpFamily } from '../../lib/ip-address.js'
import type { Snapshot } from '../../model/snapshot.js'
import { familiesOf, missingOf, MODE_NEEDS } from '../mode-needs.js'
import { passesInvalid } from '../passes-invalid.js'
import { snapshotLoopbackRouter } from '../route-loopback.js'
import { ruleModeStatus } from '../rule-mode-status.js'
import type { ModeContext, RunningMode } from '../running-mode.js'
import { reconcileFlows } from '../stale-flows.js'
import { FamilyRules, type RuleGlance } from './family-rules.js'
import { IptablesProxier } from './iptables-proxier.js'
import { PacketCounts } from './packet-counts.js'
import { rulesetOptions } from './ruleset-options.js'

/** @throws SluiceError ERR_CAPABILITY, naming what the kernel lacks and what may help */
export function startIptables(context: ModeContext): RunningMode {
  const { config, kernel, run, clock, localAddresses, log, metrics, keptFlows } = context
  requireCapabilities(kernel)
  const families = familiesOf(kernel, 'iptables')
  const warn = (message: string): void => {
    log.warn(message)
  }
  const toolOf = (family: IpFamily): string => iptablesTool(family, kernel.iptablesVariant)
  const counts = new Map(
    families.map((family) => {
      const tool = toolOf(family)
      return [family, new PacketCounts({ run, family, tool, metrics })] as const
    }),
  )
  const netfilter = new Netfilter()
  const proxier = new IptablesProxier({
    clock,
    families,
    warn,
    rulesOf: (family) => {
      const tool = toolOf(family)
      return new FamilyRules({
        ...{ run, clock, warn, metrics, tool, counts: counts.get(family) },
        glance: glanceOf(netfilter, family),
      })
    },
    optionsOf: (family, snapshot) =>
      rulesetOptions(family, config, {
        node: snapshot.node,
        localAddresses: localAddresses(),
        passesInvalid: passesInvalid(),
      }),
    deleteStaleFlows: (family, snapshot) =>
      reconcileFlows({ netfilter, clock, metrics, keptFlows }, family, snapshot),
  })
  log.info(
    { families, iptables: toolOf('IPv4') },
    'rules only: the kernel picks endpoints, and no connect is tried again',
  )
  const routeLoopback = snapshotLoopbackRouter(config, log)
  return {
    datapath: {
      sync: (snapshot: Snapshot) => {
        routeLoopback(snapshot)
        return proxier.sync(snapshot)
      },
      drain: () => proxier.drain(),
      close: async () => {
        await proxier.close()
        netfilter.close()
      },
    },
    openConnections: () => 0,
    onSynced: () => undefined,
    readCounters: async () => {
      for (const one of counts.values()) await one.account()
    },
    status: ruleModeStatus('iptables'),
  }
}

function glanceOf(netfilter: Netfilter, family: IpFamily): RuleGlance {
  return {
    countRules: (table, chain) => netfilter.countRules(family, table, chain),
    legacySize: (table) => legacyTableSize(family, table),
  }
}

function requireCapabilities(kernel: KernelCapabilities): void {
  const missing = missingOf(kernel, MODE_NEEDS.iptables)
  if (missing.length === 0) return
  const lines = missing.map(
    ({ name, reason, fix }) => `${name} (${reason ?? 'no reason given'}; try: ${fix ?? 'nothing'})`,
  )
  throw new SluiceError(
    'ERR_CAPABILITY',
    `--proxy-mode iptables cannot work here, it misses ${lines.join(', ')}`,
  )
}
