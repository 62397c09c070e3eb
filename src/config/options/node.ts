/** Options: which objects, and which node. */
import { optional, row, RUN, type OptionRow } from '../option-row.js'
import { ipAddress, oneOf, rangePair, text } from '../value-type.js'

const NODE = { section: 'Objects and node', commands: RUN } as const
const NO_INTERFACES =
  'is not supported: what is a Pod is told by its address here, not by its interface; give --cluster-cidr, or use NodeCIDR'

export const NODE_OPTIONS = {
  config: optional('config', text('FILE'), {
    ...NODE,
    commands: ['run', 'check'],
    inFile: false,
    help: "file of settings: kube-proxy's KubeProxyConfiguration as it is, a KubeSluiceConfiguration, or both as documents of one file; flags go before it, and it is watched for changes",
  }),
  writeConfigTo: optional('write-config-to', text('FILE'), {
    ...NODE,
    inFile: false,
    help: 'write the settings in force, defaults included, to this file and exit',
  }),
  manifests: optional('manifests', text('PATH'), {
    ...NODE,
    help: 'YAML or JSON file, or folder of them, with the Services, EndpointSlices and Nodes, in place of an API server; watched for changes',
  }),
  kubeconfig: optional('kubeconfig', text('FILE'), {
    ...NODE,
    help: 'kubeconfig of the API server to watch; with neither this nor --manifests, the service account of the Pod is used',
    kubeProxy: [{ field: 'clientConnection.kubeconfig' }],
  }),
  master: optional('master', text('URL'), {
    ...NODE,
    help: 'address of the API server, in place of the one in the kubeconfig or in the environment of the Pod',
  }),
  hostnameOverride: optional('hostname-override', text('NODE'), {
    ...NODE,
    help: "name of this node, when it is not the host's name",
    kubeProxy: [{ field: 'hostnameOverride' }],
  }),
  bindAddress: row('bind-address', ipAddress(), '0.0.0.0', {
    ...NODE,
    help: "this node's primary address, whatever its Node object says (node ports with --nodeport-addresses primary, source ranges); its family is that of the default addresses below; nothing is bound to it",
    kubeProxy: [{ field: 'bindAddress' }],
  }),
  clusterCidr: row('cluster-cidr', rangePair(), '', {
    ...NODE,
    help: 'addresses of the Pods of the cluster; traffic from elsewhere is masqueraded',
    kubeProxy: [{ field: 'clusterCIDR' }],
  }),
  detectLocalMode: row(
    'detect-local-mode',
    oneOf(['ClusterCIDR', 'NodeCIDR'], {
      BridgeInterface: NO_INTERFACES,
      InterfaceNamePrefix: NO_INTERFACES,
    }),
    'ClusterCIDR',
    {
      ...NODE,
      help: 'how traffic of local Pods is told from other traffic',
      kubeProxy: [{ field: 'detectLocalMode' }],
    },
  ),
} as const satisfies Record<string, OptionRow>
