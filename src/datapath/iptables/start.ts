/** Puts the iptables mode together: what the kernel lacks is said in one line before anything is touched. */
import { SluiceError } from '../../lib/errors.js'
import { iptablesTool } from '../../kernel/iptables.js'
import { Netfilter } from '../../kernel/netfilter.js'
import type { KernelCapabilities } from '../../kernel/probe-capability.js'
import type { Snapshot } from '../../model/snapshot.js'
import { familiesOf, missingOf, MODE_NEEDS } from '../mode-needs.js'
import { passesInvalid } from '../passes-invalid.js'
import { snapshotLoopbackRouter } from '../route-loopback.js'
import { ruleModeStatus } from '../rule-mode-status.js'
import type { ModeContext, RunningMode } from '../running-mode.js'
import { deleteStaleFlows } from '../stale-flows.js'
import { FamilyRules } from './family-rules.js'
import { IptablesProxier } from './iptables-proxier.js'
import { rulesetOptions } from './ruleset-options.js'

/** @throws SluiceError ERR_CAPABILITY, naming what the kernel lacks and what may help */
export function startIptables(context: ModeContext): RunningMode {
  const { config, kernel, run, clock, localAddresses, log } = context
  requireCapabilities(kernel)
  const families = familiesOf(kernel, 'iptables')
  const warn = (message: string): void => {
    log.warn(message)
  }
  const netfilter = new Netfilter()
  const proxier = new IptablesProxier({
    clock,
    families,
    warn,
    rulesOf: (family) =>
      new FamilyRules({ run, clock, warn, tool: iptablesTool(family, kernel.iptablesVariant) }),
    optionsOf: (family, snapshot) =>
      rulesetOptions(family, config, {
        node: snapshot.node,
        localAddresses: localAddresses(),
        passesInvalid: passesInvalid(),
      }),
    deleteStaleFlows: (family, snapshot) =>
      deleteStaleFlows(netfilter, family, snapshot, context.keptFlows?.()),
  })
  log.info({ families, iptables: iptablesTool('IPv4', kernel.iptablesVariant) }, 'rules only')
  const routeLoopback = snapshotLoopbackRouter(config, warn)
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
    status: ruleModeStatus('iptables'),
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
