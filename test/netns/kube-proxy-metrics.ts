/** Every metric of kube-proxy moves when it should, in every mode that has it; ipvs is in test/uml. */
import t, { type Test } from 'tap'

import { KubeProxyMetrics } from '../../src/observe/kube-proxy-metrics.js'
import { brittleTools } from '../fixtures/brittle-tools.js'
import { MOVES, runMoves, type MovingMode } from '../fixtures/kube-proxy-moves.js'
import { serve } from '../fixtures/reach.js'
import { rootOnly, startCluster } from '../fixtures/test-cluster.js'
import { missingTools, toolsFolder, type IptablesTools } from '../packet-suite/iptables-tools.js'

t.test('the table has every metric', async (t) => {
  const registered = new KubeProxyMetrics().registry.getMetricsAsArray().map(({ name }) => name)
  t.strictSame(
    Object.keys(MOVES).sort(),
    registered.map((name) => name.replace(/^kubeproxy_/, '')).sort(),
  )
})

async function testMode(t: Test, mode: MovingMode, variant?: IptablesTools): Promise<void> {
  const cluster = await startCluster(2)
  t.teardown(() => cluster.close())
  for (const [index, pod] of cluster.pods.entries()) {
    await serve(pod, `pod-${index + 1}`, cluster.podIp(index + 1), 8080)
  }
  const folder = variant === undefined ? undefined : toolsFolder(variant)
  if (folder !== undefined) t.teardown(folder.remove)
  const tools = brittleTools(folder === undefined ? [] : [folder.path])
  t.teardown(() => {
    tools.remove()
  })
  await runMoves(
    { cluster, mode, tools, folders: folder === undefined ? [] : [folder.path] },
    (name, work) => t.test(name, work),
  )
}

for (const mode of ['userspace', 'nfqueue', 'nftables'] as const) {
  t.test(mode, { skip: rootOnly, timeout: 170_000 }, (t) => testMode(t, mode))
}
for (const variant of ['nft', 'legacy'] as const) {
  const skip = rootOnly || missingTools(variant)
  t.test(`iptables, ${variant} tools`, { skip, timeout: 170_000 }, (t) =>
    testMode(t, 'iptables', variant),
  )
}
