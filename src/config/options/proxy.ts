/** Options: how connections are brought to endpoints. */
import { row, RUN, type OptionRow } from '../option-row.js'
import { duration, integer, oneOf, switchType } from '../value-type.js'

const PROXY = { section: 'Proxy', commands: RUN } as const
/** kube-proxy's settings for iptables stand for those of the modes that it does not have. */
const LIKE_IPTABLES = ['auto', 'userspace', 'nfqueue', 'iptables'] as const
/** Its flags for iptables set them for nftables too; its fields do not. */
const NOT_IPVS = [...LIKE_IPTABLES, 'nftables'] as const

export const PROXY_OPTIONS = {
  proxyMode: row(
    'proxy-mode',
    oneOf(['auto', 'userspace', 'nfqueue', 'iptables', 'ipvs', 'nftables']),
    'auto',
    {
      ...PROXY,
      help: 'how connections are brought to endpoints: userspace relays every byte, nfqueue decides about the first packet and leaves the rest to the kernel, iptables, ipvs and nftables only write rules; auto is nfqueue where the kernel can, else userspace, and rules while a threshold of --fallback-... is passed',
      kubeProxy: [{ field: 'mode' }],
    },
  ),
  iptablesMasqueradeBit: row('iptables-masquerade-bit', integer(0, 31), '14', {
    ...PROXY,
    help: 'bit of the packet mark that says "masquerade" in the iptables mode, between PREROUTING and POSTROUTING of this node',
    kubeProxy: [{ field: 'iptables.masqueradeBit' }],
  }),
  userspaceCapture: row(
    'userspace-capture',
    oneOf(['auto', 'tproxy', 'anyip', 'redirect']),
    'auto',
    {
      ...PROXY,
      help: "how traffic to a Service reaches the relay: tproxy keeps the client's address, anyip needs no packet filter, redirect needs the nat table, ipset and conntrack; auto takes the first that works here",
    },
  ),
  tproxyMarkBit: row('tproxy-mark-bit', integer(0, 31), '13', {
    ...PROXY,
    help: 'bit of the packet mark that the tproxy capture uses on this node',
  }),
  syncPeriod: row('sync-period', duration('1s'), '30s', {
    ...PROXY,
    help: 'longest time between two syncs, and between two tries of one that fails; a change that waits twice as long makes the proxy unhealthy',
    live: true,
    kubeProxy: [
      { flag: 'iptables-sync-period', modes: NOT_IPVS },
      { field: 'iptables.syncPeriod', modes: LIKE_IPTABLES },
      { flag: 'ipvs-sync-period', field: 'ipvs.syncPeriod', modes: ['ipvs'] },
      { field: 'nftables.syncPeriod', modes: ['nftables'] },
    ],
  }),
  minSyncPeriod: row('min-sync-period', duration('0s'), '0s', {
    ...PROXY,
    help: 'pause after a sync before the next one, however many changes there are',
    live: true,
    kubeProxy: [
      { flag: 'iptables-min-sync-period', modes: NOT_IPVS },
      { field: 'iptables.minSyncPeriod', modes: LIKE_IPTABLES },
      { flag: 'ipvs-min-sync-period', field: 'ipvs.minSyncPeriod', modes: ['ipvs'] },
      { field: 'nftables.minSyncPeriod', modes: ['nftables'] },
    ],
  }),
  once: row('once', switchType(), 'false', {
    ...PROXY,
    inFile: false,
    help: 'bring the rules to what the manifests say now, and exit; for modes that only write rules',
  }),
  drainTimeout: row('drain-timeout', duration('0s'), '25s', {
    ...PROXY,
    help: 'how long a stop waits for open connections to end',
    live: true,
  }),
  stopHold: row('stop-hold', duration('0s', '1h'), '2m', {
    ...PROXY,
    help: 'how long at most new connections to Services are left unanswered after a stop by SIGTERM, for the next process to take them (userspace mode); 0s: they are refused',
    live: true,
  }),
} as const satisfies Record<string, OptionRow>
