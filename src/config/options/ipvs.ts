/** Options: the ipvs mode. kube-proxy's flags keep their names, and their defaults. */
import { row, RUN, type OptionRow } from '../option-row.js'
import { duration, oneOf, ranges, switchType } from '../value-type.js'

const IPVS = { section: 'IPVS mode', commands: RUN } as const

/** The kernel's, and the empty word of kube-proxy's default. */
export const IPVS_SCHEDULERS = [
  '',
  'rr',
  'wrr',
  'lc',
  'wlc',
  'lblc',
  'lblcr',
  'sh',
  'dh',
  'sed',
  'nq',
  'mh',
] as const

export const IPVS_OPTIONS = {
  ipvsScheduler: row('ipvs-scheduler', oneOf(IPVS_SCHEDULERS), '', {
    ...IPVS,
    help: "the kernel's scheduler for Services without the annotation kube-sluice.io/balancer; when empty the one that --default-balancer amounts to",
    kubeProxy: [{ field: 'ipvs.scheduler' }],
  }),
  ipvsExcludeCidrs: row('ipvs-exclude-cidrs', ranges(), '', {
    ...IPVS,
    help: 'addresses whose virtual servers are never touched',
    kubeProxy: [{ field: 'ipvs.excludeCIDRs' }],
  }),
  ipvsStrictArp: row('ipvs-strict-arp', switchType(), 'false', {
    ...IPVS,
    help: 'set arp_ignore to 1 and arp_announce to 2, so that only the owner of an address answers for it',
    kubeProxy: [{ field: 'ipvs.strictARP' }],
  }),
  ipvsTcpTimeout: row('ipvs-tcp-timeout', duration('0s'), '0s', {
    ...IPVS,
    help: 'how long an idle TCP connection is known; 0 leaves what the kernel has',
    kubeProxy: [{ field: 'ipvs.tcpTimeout' }],
  }),
  ipvsTcpFinTimeout: row('ipvs-tcpfin-timeout', duration('0s'), '0s', {
    ...IPVS,
    help: 'the same after one side has closed it; 0 leaves what the kernel has',
    kubeProxy: [{ field: 'ipvs.tcpFinTimeout' }],
  }),
  ipvsUdpTimeout: row('ipvs-udp-timeout', duration('0s'), '0s', {
    ...IPVS,
    help: 'the same for UDP; 0 leaves what the kernel has',
    kubeProxy: [{ field: 'ipvs.udpTimeout' }],
  }),
  ipvsGracefulPeriod: row('ipvs-graceful-period', duration('0s'), '15m', {
    ...IPVS,
    help: 'how long an endpoint that has gone keeps its open TCP connections; 0 ends them at once',
  }),
} as const satisfies Record<string, OptionRow>
