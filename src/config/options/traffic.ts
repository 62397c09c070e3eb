/** Options: which traffic is served, and how. */
import { row, RUN, type OptionRow } from '../option-row.js'
import { integer, nodeAddresses, switchType } from '../value-type.js'

const TRAFFIC = { section: 'Traffic policy', commands: RUN } as const

export const TRAFFIC_OPTIONS = {
  masqueradeAll: row('masquerade-all', switchType(), 'false', {
    ...TRAFFIC,
    help: 'masquerade all traffic to cluster IPs',
    kubeProxy: [
      { field: 'nftables.masqueradeAll', modes: ['nftables'] },
      {
        field: 'iptables.masqueradeAll',
        modes: ['auto', 'userspace', 'nfqueue', 'iptables', 'ipvs'],
      },
    ],
  }),
  nodeportAddresses: row('nodeport-addresses', nodeAddresses(), '', {
    ...TRAFFIC,
    help: "node addresses that serve node ports; all of the node's without it",
    kubeProxy: [{ field: 'nodePortAddresses' }],
  }),
  localhostNodePorts: row('iptables-localhost-nodeports', switchType(), 'true', {
    ...TRAFFIC,
    help: 'serve node ports on loopback addresses too',
    kubeProxy: [{ field: 'iptables.localhostNodePorts', zeroCounts: true }],
  }),
  affinityMaxClients: row('affinity-max-clients', integer(1, 10_000_000), '65536', {
    ...TRAFFIC,
    help: 'clients remembered for session affinity, over all Services; the one seen longest ago makes room',
  }),
} as const satisfies Record<string, OptionRow>
