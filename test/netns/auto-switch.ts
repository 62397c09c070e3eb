/** The automatic switch under load: no new connection fails, and none that is open ends. */
import type { Socket as UdpSocket } from 'node:dgram'
import type { Socket } from 'node:net'
import t, { type Test } from 'tap'

import { serveHttp, startLoad, stopLoad } from '../fixtures/constant-load.js'
import { serveEcho } from '../fixtures/held-connections.js'
import {
  type Proxy,
  rootOnly,
  service,
  slice,
  startCluster,
  type TestCluster,
} from '../fixtures/test-cluster.js'

const FLAGS = [
  '--proxy-mode',
  'auto',
  '--fallback-hold-down',
  '200ms',
  '--fallback-sample-period',
  '200ms',
  // The machine of the test may be busy.
  '--fallback-verdict-share',
  '0',
  // No other process follows.
  '--stop-hold',
  '0s',
] as const

/** Services web (HTTP), echo (TCP) and udp, and `extra` more. */
function manifests(cluster: TestCluster, extra: number): object[] {
  const pods = cluster.pods.map((_, index) => cluster.podIp(index + 1))
  const more = Array.from({ length: extra }, (_, index) => [
    service(`extra-${index}`, { clusterIP: `10.96.1.${index + 1}` }),
    slice(`extra-${index}`, pods),
  ])
  return [
    service('web', { clusterIP: '10.96.0.10' }),
    slice('web', pods),
    service('echo', { clusterIP: '10.96.0.11' }),
    slice('echo', pods, { port: 8090, protocol: 'TCP' }),
    service('udp', { clusterIP: '10.96.0.12', ports: [{ port: 80, protocol: 'UDP' }] }),
    slice('udp', pods, { port: 8091, protocol: 'UDP' }),
    service(
      'stays',
      { clusterIP: '10.96.0.13' },
      {
        metadata: {
          name: 'stays',
          namespace: 'test',
          annotations: { 'kube-sluice.io/stay-in-userspace': 'true' },
        },
      },
    ),
    slice('stays', pods),
    ...more.flat(),
  ]
}

async function startAuto(t: Test, ...flags: string[]) {
  const cluster = await startCluster(2)
  t.teardown(() => cluster.close())
  for (const [index, pod] of cluster.pods.entries()) {
    await serveHttp(pod, `pod-${index + 1}`, 8080)
    await serveEcho(pod, cluster.podIp(index + 1))
    await pod.run(
      async ({ dgram, once }, name) => {
        const socket = dgram.createSocket('udp4')
        // Name and the client's port as it is seen here: another one is another session.
        socket.on('message', (_, client) => {
          socket.send(`${name} ${client.port}`, client.port, client.address)
        })
        socket.bind(8091)
        await once(socket, 'listening')
      },
      `pod-${index + 1}`,
    )
  }
  cluster.write(manifests(cluster, 0))
  const proxy = await cluster.startProxy(...FLAGS, ...flags)
  t.teardown(() => proxy.stop('SIGKILL'))
  return { cluster, proxy }
}

/** A TCP connection that sends and checks without a pause, and a UDP session that says who answers. */
async function startSessions({ client }: TestCluster): Promise<void> {
  await client.run(async ({ net, dgram, once, state }) => {
    const tcp = net.connect({ host: '10.96.0.11', port: 80 })
    const transfer = { sent: 0, received: 0, error: '' }
    tcp.on('error', (error) => (transfer.error = error.message))
    tcp.on('close', () => (transfer.error ||= 'closed'))
    tcp.on('data', (piece: Buffer) => {
      transfer.received += piece.length
      if (transfer.received === transfer.sent) send()
    })
    const send = () => {
      transfer.sent += 20_000
      tcp.write(Buffer.alloc(20_000))
    }
    await once(tcp, 'connect')
    send()
    const udp = dgram.createSocket('udp4')
    udp.bind()
    await once(udp, 'listening')
    Object.assign(state, { tcp, transfer, udp })
  }, undefined)
}

/** Waits until the transfer has come on; and whose the UDP session is. */
async function checkSessions(t: Test, { client }: TestCluster, what: string): Promise<string> {
  const { error, udp } = await client.run(async ({ once, state }) => {
    const transfer = state['transfer'] as { received: number; error: string }
    const tcp = state['tcp'] as Socket
    const udp = state['udp'] as UdpSocket
    const before = transfer.received
    while (transfer.received < before + 200_000 && transfer.error === '') {
      await Promise.race([once(tcp, 'data'), once(tcp, 'close')])
    }
    udp.send('?', 80, '10.96.0.12')
    const [answer] = (await once(udp, 'message', { signal: AbortSignal.timeout(5000) })) as [Buffer]
    return { error: transfer.error, udp: answer.toString() }
  }, undefined)
  t.equal(error, '', `${what}: the transfer goes on`)
  return udp
}

async function cross(cluster: TestCluster, proxy: Proxy, up: boolean): Promise<void> {
  const before = (await proxy.status()).auto?.switches ?? 0
  cluster.write(manifests(cluster, up ? 6 : 0))
  await proxy.until(
    up ? 'rules' : 'decides again',
    ({ auto, mode }) => auto?.switches === before + 1 && (mode === auto.deciding) !== up,
  )
}

const RATE = 500

t.test(
  'nfqueue: five times past the threshold and back under load',
  { skip: rootOnly },
  async (t) => {
    const { cluster, proxy } = await startAuto(t, '--fallback-service-ports', '8')
    t.equal((await proxy.status()).mode, 'nfqueue')
    await startSessions(cluster)
    const session = await checkSessions(t, cluster, 'at first')
    await startLoad(cluster.client, { host: '10.96.0.10', rate: RATE })
    const startedAtMs = Date.now()
    for (let round = 0; round < 5; round++) {
      await cross(cluster, proxy, true)
      if (round === 0) await saysWhy(t, cluster, proxy)
      await cross(cluster, proxy, false)
      // Often enough: a UDP flow of single datagrams is forgotten by the kernel after 30 s.
      t.equal(await checkSessions(t, cluster, `round ${round + 1}`), session, 'the UDP session too')
    }
    const seconds = (Date.now() - startedAtMs) / 1000
    const { requests, failures } = await stopLoad(cluster.client)
    t.same(failures, [], 'no connection has failed')
    t.ok(requests > 100, `${requests} connections, ${Math.round(requests / seconds)} a second`)
    t.comment(`${requests} connections in ${seconds} s`)
    t.equal((await proxy.status()).auto?.switches, 10)
  },
)

async function saysWhy(t: Test, cluster: TestCluster, proxy: Proxy): Promise<void> {
  const { mode, auto, services } = await proxy.status()
  t.equal(mode, 'nftables')
  t.match(auto?.lastSwitch, {
    from: 'nfqueue',
    to: 'nftables',
    reason: /Service ports, the threshold is 8/,
  })
  const actionOf = (name: string) =>
    services.find((one) => one.name === `test/${name}`)?.vips[0]?.action
  t.equal(actionOf('web'), 'rules')
  t.equal(actionOf('stays'), 'steer', 'the Service that stays')
  const set = await cluster.onNode('ipset', 'save', 'KUBE-SLUICE-STEERED')
  t.match(set, /10\.96\.0\.13/)
  t.notMatch(set, /10\.96\.0\.10/)
  const ask = (path: string) =>
    cluster.node.run(async ({ http, once }, path) => {
      const [response] = (await once(
        http.get({ host: '127.0.0.1', port: 10249, path, agent: false }),
        'response',
      )) as [AsyncIterable<Buffer>]
      let text = ''
      for await (const piece of response) text += String(piece)
      return text
    }, path)
  t.equal(await ask('/proxyMode'), 'nftables')
  const metrics = await ask('/metrics')
  t.match(metrics, /kube_sluice_proxy_mode\{mode="nftables"\} 1/)
  t.match(metrics, /kube_sluice_mode_switches_total 1/)
  t.match(
    metrics,
    /kube_sluice_mode_last_switch_timestamp_seconds\{.*to="nftables",reason=".+"\} 1/,
  )
  t.match(metrics, /kube_sluice_mode_threshold\{load="servicePorts"\} 8/)
  t.match(metrics, /kube_sluice_mode_load\{load="servicePorts"\} 10/)
  t.match(proxy.log(), /"msg":"mode switched"/)
}

t.test('load: rules take over, and give back when it has gone', { skip: rootOnly }, async (t) => {
  const { cluster, proxy } = await startAuto(t, '--fallback-connections', '20')
  await startLoad(cluster.client, { host: '10.96.0.10', rate: 100 })
  const isOnRules = ({ mode }: { mode: string }) => mode === 'nftables'
  await proxy.until('rules', isOnRules)
  const { auto } = await proxy.until('the load is measured still', ({ mode, auto }) => {
    const load = auto?.thresholds.find(({ of }) => of === 'connectionsPerSecond')
    return isOnRules({ mode }) && (load?.value ?? 0) > 20
  })
  t.match(auto?.lastSwitch?.reason, /new connections a second, the threshold is 20/)
  t.same((await stopLoad(cluster.client)).failures, [])
  await proxy.until('back', ({ mode }) => mode === 'nfqueue')
  const chains = await cluster.onNode('iptables-save', '-t', 'mangle')
  t.notMatch(chains, /KUBE-SLUICE-LOAD/, 'nothing is counted any more')
})

for (const mode of ['nftables', 'iptables'] as const) {
  t.test(`userspace and ${mode}: once each way`, { skip: rootOnly }, async (t) => {
    const { cluster, proxy } = await startAuto(
      t,
      '--deciding-mode',
      'userspace',
      '--fallback-modes',
      mode,
      '--drain-timeout',
      '100ms',
      '--fallback-service-ports',
      '8',
    )
    t.equal((await proxy.status()).mode, 'userspace')
    await startSessions(cluster)
    const session = await checkSessions(t, cluster, 'at first')
    await startLoad(cluster.client, { host: '10.96.0.10', rate: 100 })
    await cross(cluster, proxy, true)
    t.equal((await proxy.status()).mode, mode)
    t.equal(await checkSessions(t, cluster, mode), session, 'the UDP session is the same')
    await cross(cluster, proxy, false)
    t.equal(await checkSessions(t, cluster, 'userspace'), session, 'and again')
    const { requests, failures } = await stopLoad(cluster.client)
    t.same(failures, [], `of ${requests} connections none has failed`)
    t.equal(await proxy.stop(), 0)
    const left = await cluster.onNode('nft', 'list', 'ruleset')
    // The kubelet's chain is never removed.
    t.notMatch(left, /kube-sluice|KUBE-(?!FIREWALL)/, 'rules that stood by are gone')
  })
}
