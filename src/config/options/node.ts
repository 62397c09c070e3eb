/** Options: which objects, and which node. */
import { optional, row, RUN, type OptionRow } from '../option-row.js'
import { oneOf, rangePair, text } from '../value-type.js'

const NODE = { section: 'Objects and node', commands: RUN } as const
const NO_INTERFACES =
  'has no meaning in userspace mode, which sees the address of a client and not its interface'

export const NODE_OPTIONS = {
  manifests: optional('manifests', text('PATH'), {
    ...NODE,
    help: 'YAML or JSON file, or folder of them, with the Services, EndpointSlices and Nodes; watched for changes',
  }),
  hostnameOverride: optional('hostname-override', text('NODE'), {
    ...NODE,
    help: "name of this node, when it is not the host's name",
  }),
  clusterCidr: row('cluster-cidr', rangePair(), '', {
    ...NODE,
    help: 'addresses of the Pods of the cluster; traffic from elsewhere is masqueraded',
  }),
  detectLocalMode: row(
    'detect-local-mode',
    oneOf(['ClusterCIDR', 'NodeCIDR'], {
      BridgeInterface: NO_INTERFACES,
      InterfaceNamePrefix: NO_INTERFACES,
    }),
    'ClusterCIDR',
    { ...NODE, help: 'how traffic of local Pods is told from other traffic' },
  ),
} as const satisfies Record<string, OptionRow>
