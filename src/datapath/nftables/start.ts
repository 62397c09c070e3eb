/** Puts the nftables mode together: what the kernel lacks is said in one line before anything is touched. */
import { Netfilter } from '../../kernel/netfilter.js'
import { SluiceError } from '../../lib/errors.js'
import type { IpFamily } from '../../lib/ip-address.js'
import { markLayoutOf } from '../../packet/mark-layout.js'
import { missingOf, MODE_NEEDS } from '../mode-needs.js'
import { ruleModeStatus } from '../rule-mode-status.js'
import { snapshotLoopbackRouter } from '../route-loopback.js'
import type { ModeContext, RunningMode } from '../running-mode.js'
import { reconcileFlows } from '../stale-flows.js'
import { AFFINITY_MAP } from './affinity-rules.js'
import { layoutOptionsReader } from './layout-options.js'
import { NetlinkElementLoader } from './netlink-loader.js'
import { NftablesMode } from './nftables-mode.js'
import { NftablesProxier } from './nftables-proxier.js'
import { TABLE } from './tables.js'

const FAMILIES: readonly IpFamily[] = ['IPv4', 'IPv6']

/** @throws SluiceError ERR_CAPABILITY, naming what the kernel lacks and what may help */
export function startNftables(context: ModeContext): RunningMode {
  const { config, kernel, run, clock, localAddresses, log, metrics, keptFlows } = context
  const missing = missingOf(kernel, MODE_NEEDS.nftables)
  if (missing.length > 0) {
    const lines = missing.map(
      ({ name, reason, fix }) =>
        `${name} (${reason ?? 'no reason given'}; try: ${fix ?? 'nothing'})`,
    )
    throw new SluiceError(
      'ERR_CAPABILITY',
      `--proxy-mode nftables cannot work here, it misses ${lines.join(', ')}; use --proxy-mode iptables or userspace`,
    )
  }
  const netfilter = new Netfilter()
  const marks = markLayoutOf(config.nfqueue.markMask)
  const proxier = new NftablesProxier({
    run,
    clock,
    metrics,
    loader: new NetlinkElementLoader(netfilter),
    families: FAMILIES,
    layoutOptions: layoutOptionsReader(config, localAddresses, marks),
    countRules: (family) => netfilter.countRules(family, TABLE),
    affinityEntries: () => netfilter.dumpElements('IPv4', TABLE, AFFINITY_MAP),
  })
  const datapath = new NftablesMode({
    proxier,
    families: FAMILIES,
    clock,
    deleteStaleFlows: (family, snapshot) =>
      reconcileFlows({ netfilter, clock, metrics, keptFlows }, family, snapshot),
    routeLoopback: snapshotLoopbackRouter(config, log),
    warn: (message) => {
      log.warn(message)
    },
  })
  log.info(
    { families: FAMILIES, table: TABLE },
    'rules only: the kernel picks endpoints, and no connect is tried again',
  )
  return {
    datapath: {
      sync: (snapshot) => datapath.sync(snapshot),
      drain: () => datapath.drain(),
      close: async () => {
        await datapath.close()
        netfilter.close()
      },
    },
    openConnections: () => 0,
    onSynced: () => undefined,
    status: ruleModeStatus('nftables'),
  }
}
