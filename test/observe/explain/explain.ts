import t from 'tap'
import { SortedMap } from '../../../src/lib/sorted-map.js'
import { categorizeEndpoints } from '../../../src/model/categorize-endpoints.js'
import type { Endpoint } from '../../../src/model/endpoint.js'
import type { ServicePort } from '../../../src/model/service-port.js'
import type { Snapshot } from '../../../src/model/snapshot.js'
import type { RunConfig } from '../../../src/config/run-config.js'
import { choiceOf } from '../../../src/datapath/explain-choice.js'
import { kernelObjects } from '../../../src/datapath/explain-objects.js'
import { explain, type ExplainContext } from '../../../src/observe/explain/explain.js'
import { parseQuestion } from '../../../src/observe/explain/question.js'
import { BALANCER_DEFAULTS } from '../../../src/policy/balancer/settings.js'
import type { Foreseen } from '../../../src/policy/endpoint-picker.js'
import { modelEndpoint, modelServicePort, ranges } from '../../fixtures/objects.js'

const NOW = Date.parse('2026-01-01T00:00:00Z')
const NODE = { name: 'node-a', zone: undefined, addresses: ['192.0.2.1'], podCidrs: [] }

function contextOf(
  port: Partial<ServicePort>,
  endpoints: readonly Endpoint[],
  more: Partial<ExplainContext> = {},
): ExplainContext {
  const servicePort = modelServicePort(port)
  const state = { servicePort, endpoints, ...categorizeEndpoints(endpoints, servicePort, NODE) }
  const snapshot: Snapshot = {
    generation: 1,
    node: NODE,
    servicePorts: SortedMap.empty<typeof state>().with(new Map([[servicePort.id, state]])),
  }
  return {
    snapshot,
    modeOf: () => 'iptables',
    podRanges: ranges('10.244.0.0/16'),
    nodeIps: ['192.0.2.1'],
    nodePortIps: ['192.0.2.1'],
    masqueradeAll: false,
    choiceOf: () => ({ name: 'random', isWeighted: true, how: 'by chance' }),
    nowMs: NOW,
    healthOf: () => undefined,
    ejectedSince: () => undefined,
    openOf: () => 0,
    objectsOf: (carried) => kernelObjects('iptables', carried),
    ...more,
  }
}

const HERE = modelEndpoint('10.244.0.1:8080', { isLocal: true })
const THERE = modelEndpoint('10.244.1.1:8080', { nodeName: 'node-b', weight: 3 })
const ask = (client: string, vip = '10.96.0.10:80') => parseQuestion('tcp', client, vip)

t.test('the candidates with their shares, and why others are left out', async (t) => {
  const endpoints = [
    HERE,
    THERE,
    modelEndpoint('10.244.2.1:8080', { isReady: false }),
    modelEndpoint('10.244.2.2:8080', { isReady: false, isTerminating: true, isServing: false }),
    modelEndpoint('10.244.2.3:8080', { weight: 0 }),
  ]
  const answer = explain(ask('10.244.0.9'), contextOf({}, endpoints))
  t.equal(answer.verdict, 'endpoint')
  t.strictSame(
    answer.candidates.map(({ address, sharePercent }) => [address, sharePercent]),
    [
      ['10.244.0.1:8080', 25],
      ['10.244.1.1:8080', 75],
    ],
  )
  t.strictSame(
    answer.leftOut.map(({ why }) => why),
    ['not ready', 'terminating, and it does not serve any more', 'draining: its weight is 0'],
  )
  t.equal(answer.source, 'pod')
  t.equal(answer.masquerade, 'no')
  t.match(answer.objects.join('\n'), /KUBE-SERVICES -> KUBE-SVC-[A-Z2-7]{16}/)
})

t.test('an unhealthy endpoint is named with since and reason', async (t) => {
  const context = contextOf({}, [HERE, THERE], {
    healthOf: (_, id) =>
      id === THERE.id
        ? { isUp: false, since: new Date('2026-01-01T00:00:00Z'), reason: 'refused' }
        : undefined,
  })
  const [state] = [...context.snapshot.servicePorts.values()]
  const healthy = { ...state!, cluster: [HERE], reachable: [HERE] }
  const servicePorts = context.snapshot.servicePorts.with(
    new Map([[healthy.servicePort.id, healthy]]),
  )
  const snapshot = { ...context.snapshot, servicePorts }
  const { leftOut, steps } = explain(ask('10.244.0.9'), { ...context, snapshot })
  t.equal(leftOut[0]?.why, 'unhealthy since 2026-01-01T00:00:00.000Z: refused')
  t.match(steps.join('\n'), /It goes to 10.244.0.1:8080, the only one/)
})

t.test('policies, sources and masquerade', async (t) => {
  const local = { nodePort: 30_080, externalPolicyLocal: true }
  const nodePort = (client: string, endpoints: readonly Endpoint[]) =>
    explain(ask(client, '192.0.2.1:30080'), contextOf(local, endpoints))
  t.match(nodePort('203.0.113.9', [HERE, THERE]), {
    scope: 'local',
    masquerade: 'no',
    leftOut: [{ why: 'on node node-b, and the policy is Local' }],
  })
  t.match(nodePort('10.244.0.9', [HERE, THERE]), { scope: 'cluster', verdict: 'endpoint' })
  t.match(nodePort('203.0.113.9', [THERE]), { verdict: 'drop' })
  t.match(nodePort('203.0.113.9', []), { verdict: 'reject' })
  t.equal(explain(ask('203.0.113.9'), contextOf({}, [HERE])).masquerade, 'yes')
  t.equal(explain(ask('10.244.0.1'), contextOf({}, [HERE, THERE])).masquerade, 'if-same')
  const guarded = {
    loadBalancerVips: ['198.51.100.1'],
    loadBalancerSourceRanges: ranges('203.0.113.0/24'),
  }
  const lb = (client: string) =>
    explain(ask(client, '198.51.100.1:80'), contextOf(guarded, [HERE])).verdict
  t.equal(lb('203.0.113.9'), 'endpoint')
  t.equal(lb('198.18.0.1'), 'drop')
})

t.test('an address of no Service', async (t) => {
  const { verdict, steps } = explain(ask('10.244.0.9', '10.96.0.99:80'), contextOf({}, [HERE]))
  t.equal(verdict, 'not-a-service')
  t.match(steps, [/No Service has TCP 10.96.0.99 port 80/])
})

t.test('every mode names what carries it out', async (t) => {
  for (const [mode, expected] of [
    ['userspace', /socket .* 10.96.0.10:80/],
    ['nfqueue', /ipset test KUBE-SLUICE-STEERED 10.96.0.10,tcp:80/],
    ['nftables', /nft get element ip kube-sluice vips '{ 10.96.0.10 . tcp . 80 }'/],
    ['ipvs', /ipvsadm -Ln -t 10.96.0.10:80/],
  ] as const) {
    const objectsOf: ExplainContext['objectsOf'] = (carried) => kernelObjects(mode, carried)
    const { objects } = explain(
      ask('10.244.0.9'),
      contextOf({}, [HERE], { modeOf: () => mode, objectsOf }),
    )
    t.match(objects.join('\n'), expected)
  }
})

t.test(
  'weights count only where the balancer goes by them; what is ejected gets none',
  async (t) => {
    const other = modelEndpoint('10.244.2.1:8080')
    const shares = (isWeighted: boolean, ejected?: string) =>
      explain(
        ask('10.244.0.9'),
        contextOf({}, [HERE, THERE, other], {
          choiceOf: () => ({ name: 'x', isWeighted, how: 'in turn' }),
          ejectedSince: (_, id) => (id === ejected ? new Date(NOW) : undefined),
        }),
      ).candidates.map(({ sharePercent }) => sharePercent)
    t.same(shares(true), [20, 60, 20])
    t.same(shares(false), [33, 33, 33])
    t.same(shares(false, THERE.id), [50, 0, 50])
    const { steps } = explain(
      ask('10.244.0.9'),
      contextOf({}, [HERE, THERE], {
        choiceOf: () => ({ name: 'round-robin', isWeighted: false, how: 'in turn' }),
      }),
    )
    t.match(steps.join('\n'), 'The balancer round-robin picks one of 2, in turn:')
    t.match(steps.join('\n'), '10.244.1.1:8080: 50 %, weight 3, which does not count')
  },
)

t.test('a pin comes before a pick, and either is where it goes', async (t) => {
  const foreseen = (more: Partial<Foreseen>): ReturnType<typeof explain> =>
    explain(
      ask('10.244.0.9'),
      contextOf({ affinityTimeoutSeconds: 600 }, [HERE, THERE], {
        foreseen: { pinned: undefined, pick: undefined, ejected: [], ...more },
        ejectedSince: (_, id) => (more.ejected?.[0]?.endpointId === id ? new Date(NOW) : undefined),
      }),
    )
  const pinned = { endpointId: HERE.id, leftMs: 60_000 }
  const both = foreseen({ pinned, pick: THERE.id })
  t.match(both, {
    pinned: { address: HERE.id, until: '2026-01-01T00:01:00.000Z' },
    candidates: [{ sharePercent: 100 }, { sharePercent: 0 }],
  })
  t.match(both.steps.join('\n'), 'It has this client at 10.244.0.1:8080 until 2026-01-01T00:01:00')
  t.match(foreseen({ pick: THERE.id }).candidates, [{ sharePercent: 0 }, { sharePercent: 100 }])
  const gone = foreseen({ pinned: { endpointId: '10.244.9.9:8080', leftMs: 1000 } })
  t.match(gone.steps.join('\n'), 'takes no connections now')
  const ejected = foreseen({ ejected: [{ endpointId: THERE.id, leftMs: 4000 }] })
  t.equal(ejected.candidates[1]?.ejectedUntil, '2026-01-01T00:00:04.000Z')
  t.match(ejected.steps.join('\n'), 'tried again at 2026-01-01T00:00:04.000Z')
})

t.test('a node port at an address that does not serve node ports says so', async (t) => {
  const context = contextOf({ nodePort: 30_080 }, [HERE], {
    nodeIps: ['192.0.2.1', '198.51.100.9'],
  })
  const { verdict, steps } = explain(ask('203.0.113.9', '198.51.100.9:30080'), context)
  t.equal(verdict, 'not-a-service')
  t.match(steps[1], /node port of Service port demo\/echo:http, .* only at 192.0.2.1/)
  t.equal(explain(ask('203.0.113.9', '203.0.113.1:30080'), context).steps.length, 1)
})

t.test('each mode says how it picks', async (t) => {
  const config = { balancers: BALANCER_DEFAULTS, ipvs: { scheduler: '' } } as RunConfig
  const choice = (mode: string, annotations: Record<string, string> = {}, weights = [1, 1]) =>
    choiceOf(mode, modelServicePort({ annotations }), {
      endpoints: weights.map((weight, i) => modelEndpoint(`10.244.0.${i}:80`, { weight })),
      config,
    })
  t.match(choice('nfqueue'), { name: 'round-robin', isWeighted: false })
  t.match(choice('userspace', { balancer: 'maglev' }), { how: /address and port$/ })
  t.match(choice('iptables'), { name: 'random', isWeighted: true })
  t.match(choice('ipvs'), { name: 'rr', isWeighted: false })
  t.match(choice('ipvs', {}, [1, 3]), { name: 'wrr', isWeighted: true })
  t.match(choice('ipvs', { balancer: 'source-hash' }), { name: 'sh' })
})

t.test('an unhealthy endpoint that is used all the same says so', async (t) => {
  const { candidates, steps } = explain(
    ask('10.244.0.9'),
    contextOf({}, [HERE, THERE], {
      modeOf: () => 'userspace',
      openOf: () => 4,
      healthOf: (_, id) =>
        id === HERE.id ? { isUp: false, since: undefined, reason: undefined } : undefined,
    }),
  )
  t.same(
    candidates.map(({ isUp }) => isUp),
    [false, undefined],
  )
  t.match(steps.join('\n'), /10.244.0.1:8080: .* 4 open, unhealthy, but so few are healthy/)
})
