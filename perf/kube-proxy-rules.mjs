/**
 * The rules that kube-proxy's iptables mode has for many Services with a cluster IP and endpoints
 * (chain graph of pkg/proxy/iptables/proxier.go), as input of iptables-restore.
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
  const chains = ['KUBE-SERVICES', 'KUBE-NODEPORTS', 'KUBE-POSTROUTING', 'KUBE-MARK-MASQ']
  const rules = [
    '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
    '-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
    '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
    '-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000',
    '-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN',
    '-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000',
    '-A KUBE-POSTROUTING -j MASQUERADE --random-fully',
  ]
  services.forEach(({ name, vip, port, endpoints }, number) => {
    const svc = `KUBE-SVC-${String(number).padStart(16, '0')}`
    const to = `-d ${vip}/32 -p tcp -m tcp --dport ${port}`
    chains.push(svc)
    rules.push(
      `-A KUBE-SERVICES ${to} -m comment --comment "${name} cluster IP" -j ${svc}`,
      `-A ${svc} ! -s ${clusterCidr} ${to} -m comment --comment "${name} cluster IP" -j KUBE-MARK-MASQ`,
    )
    endpoints.forEach((endpoint, index) => {
      const sep = `KUBE-SEP-${String(number).padStart(12, '0')}${String(index).padStart(4, '0')}`
      const left = endpoints.length - index
      const share =
        left > 1 ? ` -m statistic --mode random --probability ${(1 / left).toFixed(10)}` : ''
      chains.push(sep)
      rules.push(
        `-A ${svc} -m comment --comment "${name} -> ${endpoint}"${share} -j ${sep}`,
        `-A ${sep} -s ${endpoint.split(':')[0]} -m comment --comment "${name}" -j KUBE-MARK-MASQ`,
        `-A ${sep} -p tcp -m comment --comment "${name}" -m tcp -j DNAT --to-destination ${endpoint}`,
      )
    })
  })
  rules.push(
    '-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS',
  )
  return [
    ...FILTER,
    '*nat',
    ...chains.map((chain) => `:${chain} - [0:0]`),
    ...rules,
    'COMMIT',
    '',
  ].join('\n')
}

const FILTER = [
  '*filter',
  ':KUBE-FORWARD - [0:0]',
  ':KUBE-SERVICES - [0:0]',
  '-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD',
  '-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
  '-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
  '-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP',
  '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT',
  '-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
  'COMMIT',
]
