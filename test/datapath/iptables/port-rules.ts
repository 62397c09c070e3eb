import t from 'tap'

import { portRules, type PortRules } from '../../../src/datapath/iptables/port-rules.js'
import type { RuleOptions } from '../../../src/datapath/iptables/rule-options.js'
import type { Endpoint } from '../../../src/model/endpoint.js'
import type { ServicePort } from '../../../src/model/service-port.js'
import type { ServicePortState } from '../../../src/model/snapshot.js'
import { endpoint, portState, servicePort } from '../../fixtures/endpoint.js'
import { ranges } from '../../fixtures/objects.js'

/** kube-proxy's own test object, whose names are known. */
const SVC = { namespace: 'ns2', name: 'svc2', portName: 'p80', clusterIp: '172.30.0.42' } as const
const here = endpoint('10.180.0.2', 80, { isLocal: true })
const there = endpoint('10.180.0.3', 80)
const H = 'GNZBNJ2PO5MGZ6GT'
const options: RuleOptions = {
  family: 'IPv4',
  masqueradeBit: 14,
  masqueradeAll: false,
  pods: { match: '-s 10.0.0.0/8', noMatch: '! -s 10.0.0.0/8' },
  nodePortAddresses: 'all',
  localhostNodePorts: true,
  nodeIps: ['192.168.0.2'],
  randomFully: true,
  passesInvalid: false,
  isLarge: false,
}

const rulesOf = (
  port: Partial<ServicePort>,
  endpoints: readonly Endpoint[] = [here],
  over: { state?: Partial<ServicePortState>; options?: Partial<RuleOptions> } = {},
): PortRules =>
  portRules(portState(servicePort({ ...SVC, ...port }), endpoints, over.state), {
    ...options,
    ...over.options,
  })
const text = ({ shared, chains }: PortRules): string[] => [
  ...Object.entries(shared).flatMap(([chain, rules]) => rules.map((rule) => `${chain} ${rule}`)),
  ...chains.flatMap(({ name, rules }) => rules.map((rule) => `${name} ${rule}`)),
]

t.test('a cluster IP', async (t) => {
  t.strictSame(text(rulesOf({})), [
    `nat/KUBE-SERVICES -m comment --comment "ns2/svc2:p80 cluster IP" -m tcp -p tcp -d 172.30.0.42 --dport 80 -j KUBE-SVC-${H}`,
    `KUBE-SVC-${H} -m comment --comment "ns2/svc2:p80 cluster IP" -m tcp -p tcp -d 172.30.0.42 --dport 80 ! -s 10.0.0.0/8 -j KUBE-MARK-MASQ`,
    `KUBE-SVC-${H} -m comment --comment "ns2/svc2:p80 -> 10.180.0.2:80" -j KUBE-SEP-RS4RBKLTHTF2IUXJ`,
    'KUBE-SEP-RS4RBKLTHTF2IUXJ -m comment --comment ns2/svc2:p80 -s 10.180.0.2 -j KUBE-MARK-MASQ',
    'KUBE-SEP-RS4RBKLTHTF2IUXJ -m comment --comment ns2/svc2:p80 -m tcp -p tcp -j DNAT --to-destination 10.180.0.2:80',
  ])
})

t.test('who is masqueraded on the way to a cluster IP', async (t) => {
  const marks = (over: Partial<RuleOptions>) =>
    text(rulesOf({}, [], { options: over, state: { cluster: [here], hasAny: true } })).filter(
      (rule) => rule.includes('-j KUBE-MARK-MASQ'),
    )
  t.match(marks({ masqueradeAll: true }), [/--dport 80 -j KUBE-MARK-MASQ$/])
  t.strictSame(marks({ pods: undefined }), [])
})

t.test(
  'without endpoints a client is refused, without local ones it is not answered',
  async (t) => {
    t.strictSame(text(rulesOf({}, [])), [
      'filter/KUBE-SERVICES -m comment --comment "ns2/svc2:p80 has no endpoints" -m tcp -p tcp -d 172.30.0.42 --dport 80 -j REJECT',
    ])
    const local = text(rulesOf({ internalPolicyLocal: true, nodePort: 30_080 }, [there]))
    t.match(
      local.find((rule) => rule.startsWith('nat/')),
      `nat/KUBE-NODEPORTS -m comment --comment ns2/svc2:p80 -m tcp -p tcp --dport 30080 -j KUBE-EXT-${H}`,
    )
    t.match(
      local.find((rule) => rule.startsWith('filter/')),
      /^filter\/KUBE-SERVICES .*"ns2\/svc2:p80 has no local endpoints" .* -j DROP$/,
    )
  },
)

t.test('node port and external IP with the Cluster policy are masqueraded', async (t) => {
  const rules = text(rulesOf({ nodePort: 3001, externalIps: ['192.0.2.1'] }))
  t.ok(
    rules.includes(
      `nat/KUBE-SERVICES -m comment --comment "ns2/svc2:p80 external IP" -m tcp -p tcp -d 192.0.2.1 --dport 80 -j KUBE-EXT-${H}`,
    ),
  )
  t.strictSame(
    rules.filter((rule) => rule.startsWith('KUBE-EXT')),
    [
      `KUBE-EXT-${H} -m comment --comment "masquerade traffic for ns2/svc2:p80 external destinations" -j KUBE-MARK-MASQ`,
      `KUBE-EXT-${H} -j KUBE-SVC-${H}`,
    ],
  )
})

t.test('the Local policy: pods and the node go anywhere, others to local endpoints', async (t) => {
  const port = { nodePort: 3001, externalPolicyLocal: true }
  const external = (endpoints: readonly Endpoint[]) =>
    text(rulesOf(port, endpoints)).filter((rule) => rule.startsWith('KUBE-EXT'))
  const shortCircuit = [
    `KUBE-EXT-${H} -m comment --comment "pod traffic for ns2/svc2:p80 external destinations" -s 10.0.0.0/8 -j KUBE-SVC-${H}`,
    `KUBE-EXT-${H} -m comment --comment "masquerade LOCAL traffic for ns2/svc2:p80 external destinations" -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ`,
    `KUBE-EXT-${H} -m comment --comment "route LOCAL traffic for ns2/svc2:p80 external destinations" -m addrtype --src-type LOCAL -j KUBE-SVC-${H}`,
  ]
  t.strictSame(external([here, there]), [...shortCircuit, `KUBE-EXT-${H} -j KUBE-SVL-${H}`])
  t.strictSame(external([there]), shortCircuit)
  const drop = text(rulesOf(port, [there])).find((rule) => rule.startsWith('filter/'))
  t.match(drop, /"ns2\/svc2:p80 has no local endpoints" -m addrtype --dst-type LOCAL .* -j DROP$/)
})

t.test('source ranges of a load balancer', async (t) => {
  const port = {
    loadBalancerVips: ['1.2.3.4'],
    loadBalancerSourceRanges: ranges('192.168.0.0/24', '203.0.113.0/25'),
    healthCheckNodePort: 30_000,
  }
  const rules = text(rulesOf(port))
  t.ok(
    rules.includes(
      `filter/KUBE-PROXY-FIREWALL -m comment --comment "ns2/svc2:p80 traffic not accepted by KUBE-FW-${H}" -m tcp -p tcp -d 1.2.3.4 --dport 80 -j DROP`,
    ),
  )
  t.ok(
    rules.includes(
      'filter/KUBE-NODEPORTS -m comment --comment "ns2/svc2:p80 health check node port" -m tcp -p tcp --dport 30000 -j ACCEPT',
    ),
  )
  const fw = (source: string) =>
    `KUBE-FW-${H} -m comment --comment "ns2/svc2:p80 loadbalancer IP" -s ${source} -j KUBE-EXT-${H}`
  t.strictSame(
    rules.filter((rule) => rule.startsWith('KUBE-FW')),
    [
      fw('192.168.0.0/24'),
      fw('203.0.113.0/25'),
      // The node is in the first range, and its own packets may have the VIP for a source.
      fw('1.2.3.4'),
      `KUBE-FW-${H} -m comment --comment "other traffic to ns2/svc2:p80 will be dropped by KUBE-PROXY-FIREWALL"`,
    ],
  )
})

t.test('shares, and affinity before them', async (t) => {
  const three = [here, there, endpoint('10.180.0.4', 80)]
  const draws = (rules: PortRules) =>
    rules.chains
      .find(({ name }) => name.startsWith('KUBE-SVC'))!
      .rules.slice(1)
      .map((rule) => rule.replace(/-m comment --comment "[^"]*" /, ''))
  t.match(draws(rulesOf({}, three)), [
    /^-m statistic --mode random --probability 0\.3333333333 -j KUBE-SEP-/,
    /^-m statistic --mode random --probability 0\.5000000000 -j KUBE-SEP-/,
    /^-j KUBE-SEP-/,
  ])
  const heavy = [
    { ...here, weight: 2 },
    { ...there, weight: 6 },
  ]
  t.match(draws(rulesOf({}, heavy))[0], /--probability 0\.2500000000 /)
  const sticky = draws(rulesOf({ affinityTimeoutSeconds: 10_800 }, [here, there]))
  t.match(sticky, [
    /^-m recent --name (KUBE-SEP-\w+) --rcheck --seconds 10800 --reap -j \1$/,
    /^-m recent --name (KUBE-SEP-\w+) --rcheck --seconds 10800 --reap -j \1$/,
    /^-m statistic/,
    /^-j KUBE-SEP-/,
  ])
  const set = text(rulesOf({ affinityTimeoutSeconds: 60 })).at(-1)
  t.match(set, /-m recent --name KUBE-SEP-RS4RBKLTHTF2IUXJ --set -m tcp -p tcp -j DNAT/)
})

t.test('a large cluster leaves out the comments of endpoints', async (t) => {
  const rules = text(rulesOf({}, [here], { options: { isLarge: true } }))
  t.strictSame(rules.slice(2), [
    `KUBE-SVC-${H} -j KUBE-SEP-RS4RBKLTHTF2IUXJ`,
    'KUBE-SEP-RS4RBKLTHTF2IUXJ -s 10.180.0.2 -j KUBE-MARK-MASQ',
    'KUBE-SEP-RS4RBKLTHTF2IUXJ -m tcp -p tcp -j DNAT --to-destination 10.180.0.2:80',
  ])
})

t.test('no rule leads to a chain that is not there', async (t) => {
  const kinds: Partial<ServicePort>[] = [
    { nodePort: 3001 },
    { nodePort: 3001, externalPolicyLocal: true },
    { nodePort: 3001, internalPolicyLocal: true, externalPolicyLocal: true },
    { loadBalancerVips: ['1.2.3.4'], loadBalancerSourceRanges: ranges('10.0.0.0/8') },
  ]
  for (const port of kinds) {
    for (const [cluster, local] of [
      [[here], [here]],
      [[there], []],
      [[], [here]],
      [[], []],
    ] as const) {
      for (const hasAny of [true, false]) {
        const state = { cluster, local, reachable: [...cluster, ...local], hasAny }
        const rules = rulesOf(port, [here, there], { state })
        const known = new Set([...rules.chains.map(({ name }) => name), 'KUBE-MARK-MASQ'])
        for (const rule of text(rules)) {
          const target = / -j (KUBE-\S+)$/.exec(rule)?.[1]
          t.ok(target === undefined || known.has(target), rule)
        }
      }
    }
  }
})
