/**
 * The flags that the suite runs a mode with: a start of the proxy each. A Service is in one of them.
 */
const PODS = '10.244.0.0/16,fd00:244::/32'

export const CONFIGURATIONS = {
  default: {
    says: 'the default, with a cluster CIDR',
    flags: ['--cluster-cidr', PODS],
  },
  'masquerade-all': {
    says: '`--masquerade-all`, and node ports at the addresses of 10.0.1.0/24 and fd00:1::/64',
    flags: [
      '--cluster-cidr',
      PODS,
      '--masquerade-all',
      '--nodeport-addresses',
      '10.0.1.0/24,fd00:1::/64',
    ],
  },
  'no-detector': {
    says: 'no cluster CIDR, so that nothing tells Pods from others; `--nodeport-addresses primary`',
    flags: ['--nodeport-addresses', 'primary'],
  },
  'node-cidr': {
    says: '`--detect-local-mode NodeCIDR`, and node ports at 127.0.0.0/8 and the InternalIP, nothing said for IPv6',
    flags: ['--detect-local-mode', 'NodeCIDR', '--nodeport-addresses', '127.0.0.0/8,10.0.1.1/32'],
  },
} as const satisfies Record<string, { says: string; flags: readonly string[] }>

export type ConfigurationName = keyof typeof CONFIGURATIONS
