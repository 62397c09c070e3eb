import t from 'tap'
import { SortedMap } from '../../../src/lib/sorted-map.js'
import { categorizeEndpoints } from '../../../src/model/categorize-endpoints.js'
import type { Endpoint } from '../../../src/model/endpoint.js'
import type { ServicePort } from '../../../src/model/service-port.js'
import type { Snapshot } from '../../../src/model/snapshot.js'
import { kernelObjects } from '../../../src/datapath/explain-objects.js'
import { explain, type ExplainContext } from '../../../src/observe/explain/explain.js'
import { parseQuestion } from '../../../src/observe/explain/question.js'
import { modelEndpoint, modelServicePort, ranges } from '../../fixtures/objects.js'

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
    mode: 'iptables',
    podRanges: ranges('10.244.0.0/16'),
    nodeIps: ['192.0.2.1'],
    nodePortIps: ['192.0.2.1'],
    masqueradeAll: false,
    balancerOf: () => 'round-robin',
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
    const { objects } = explain(ask('10.244.0.9'), contextOf({}, [HERE], { mode, objectsOf }))
    t.match(objects.join('\n'), expected)
  }
})
