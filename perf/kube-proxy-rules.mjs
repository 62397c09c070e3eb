/**
 * The rules that kube-proxy's iptables mode has for many Services with a cluster IP and endpoints
 * (chain graph of pkg/proxy/iptables/proxier.go), as a RestorePlan of src/datapath/iptables/restore-text.ts.
 *
 * The Service that is measured stands in the middle of KUBE-SERVICES: kube-proxy writes them in no
 * order, so half of the rules stand before a Service's own on average. Chain names are counted, not
 * hashed: the kernel does not mind.
 */

/**
 * @param {{ services: readonly { name: string, vip: string, port: number, endpoints: readonly string[] }[],
 *   clusterCidr: string }} options endpoints as `10.244.1.2:8080`
 */
export function kubeProxyRules({ services, clusterCidr }) {
  const chains = []
  const portals = services.map((service, number) => {
    const { name, vip, port } = service
    const svc = `KUBE-SVC-${String(number).padStart(16, '0')}`
    const to = `-d ${vip}/32 -p tcp -m tcp --dport ${port} -m comment --comment "${name} cluster IP"`
    const masquerade = `! -s ${clusterCidr} ${to} -j KUBE-MARK-MASQ`
    const spread = endpointChains(service, number)
    chains.push({ name: svc, rules: [masquerade, ...spread.jumps] }, ...spread.chains)
    return `${to} -j ${svc}`
  })
  const nat = {
    chains: [
      ...chains,
      { name: 'KUBE-MARK-MASQ', rules: ['-j MARK --or-mark 0x4000'] },
      { name: 'KUBE-NODEPORTS', rules: [] },
      { name: 'KUBE-SERVICES', rules: [...portals, NODE_PORTS] },
      { name: 'KUBE-POSTROUTING', rules: POSTROUTING },
    ],
    stale: [],
    jumps: [
      { hook: 'PREROUTING', rule: `${PORTALS} -j KUBE-SERVICES` },
      { hook: 'OUTPUT', rule: `${PORTALS} -j KUBE-SERVICES` },
      {
        hook: 'POSTROUTING',
        rule: '-m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
      },
    ],
  }
  return { filter: FILTER, nat }
}

/** A chain for each endpoint, and the rules of the Service's chain that lead there. */
function endpointChains({ name, endpoints }, number) {
  const chains = []
  const jumps = endpoints.map((endpoint, index) => {
    const sep = `KUBE-SEP-${String(number).padStart(12, '0')}${String(index).padStart(4, '0')}`
    const left = endpoints.length - index
    const share =
      left > 1 ? ` -m statistic --mode random --probability ${(1 / left).toFixed(10)}` : ''
    const note = `-m comment --comment "${name}"`
    chains.push({
      name: sep,
      rules: [
        `-s ${endpoint.split(':')[0]} ${note} -j KUBE-MARK-MASQ`,
        `-p tcp ${note} -m tcp -j DNAT --to-destination ${endpoint}`,
      ],
    })
    return `-m comment --comment "${name} -> ${endpoint}"${share} -j ${sep}`
  })
  return { chains, jumps }
}

const PORTALS = '-m comment --comment "kubernetes service portals"'
const NEW_PORTALS = `-m conntrack --ctstate NEW ${PORTALS}`

const NODE_PORTS =
  '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain"' +
  ' -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS'

const POSTROUTING = [
  '-m mark ! --mark 0x4000/0x4000 -j RETURN',
  '-j MARK --xor-mark 0x4000',
  '-j MASQUERADE --random-fully',
]

const FORWARD = [
  '-m conntrack --ctstate INVALID -j DROP',
  '-m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT',
  '-m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
]

/** Each jump is put above the ones before it. */
const FILTER = {
  chains: [
    { name: 'KUBE-FORWARD', rules: FORWARD },
    { name: 'KUBE-SERVICES', rules: [] },
  ],
  stale: [],
  jumps: [
    { hook: 'OUTPUT', rule: `${NEW_PORTALS} -j KUBE-SERVICES` },
    { hook: 'FORWARD', rule: `${NEW_PORTALS} -j KUBE-SERVICES` },
    {
      hook: 'FORWARD',
      rule: '-m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD',
    },
  ],
}
