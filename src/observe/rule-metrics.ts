/** What only a proxy mode that writes rules can record; kube-proxy-metrics.ts has the metrics. */
import type { IpFamily } from '../lib/ip-address.js'

/** Each call is one addition; none of them throws. */
export interface RuleMetrics {
  /** A sync that wrote everything, or only what had changed, and how long it took. */
  rulesWritten(kind: 'full' | 'partial', family: IpFamily, seconds: number): void
  /** Rules of ours in a table of iptables, and of those how many the last restore wrote. */
  iptablesRules(table: string, family: IpFamily, rules: { total: number; last: number }): void
  iptablesRestoreFailed(family: IpFamily, kind: 'full' | 'partial'): void
  nftablesSyncFailed(family: IpFamily): void
  nftablesCleanupFailed(family: IpFamily): void
  /** UDP entries of connection tracking were compared with the endpoints. */
  conntrackReconciled(family: IpFamily, seconds: number, deletedEntries: number): void
  /** Packets that the rules have counted since the last call. */
  packetsAccounted(
    what: 'ct_state_invalid_dropped_pkts' | 'localhost_nps_accepted_pkts',
    packets: number,
  ): void
}

/** For a run that nobody asks. */
export const NO_RULE_METRICS: RuleMetrics = {
  rulesWritten: () => undefined,
  iptablesRules: () => undefined,
  iptablesRestoreFailed: () => undefined,
  nftablesSyncFailed: () => undefined,
  nftablesCleanupFailed: () => undefined,
  conntrackReconciled: () => undefined,
  packetsAccounted: () => undefined,
}
