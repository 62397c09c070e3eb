import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'

import { loadRunConfig } from '../../src/config/load.js'
import { snapshotLoopbackRouter } from '../../src/datapath/route-loopback.js'
import { ClusterState } from '../../src/model/cluster-state.js'
import { applyService, service } from '../fixtures/objects.js'

t.test('the sysctl is written once a node port comes, and then left alone', async (t) => {
  const root = t.testdir({})
  const folder = join(root, 'net/ipv4/conf/all')
  mkdirSync(folder, { recursive: true })
  const file = join(folder, 'route_localnet')
  writeFileSync(file, '0')
  const config = loadRunConfig(['--manifests', 'x', '--sysctl-root', root])
  const route = snapshotLoopbackRouter(config, {
    info: () => undefined,
    warn: (message) => t.fail(message),
  })
  const state = new ClusterState({ nodeName: 'node-1' })
  state.apply([applyService(service({ name: 'a' }))])
  route(state.snapshot())
  t.equal(readFileSync(file, 'utf8'), '0')
  const ports = [{ name: 'http', port: 80, nodePort: 30080, protocol: 'TCP' }]
  state.apply([
    applyService(
      service({ name: 'b', spec: { type: 'NodePort', clusterIP: '10.96.0.11', ports } }),
    ),
  ])
  route(state.snapshot())
  t.equal(readFileSync(file, 'utf8'), '1')
  writeFileSync(file, '0')
  route(state.snapshot())
  t.equal(readFileSync(file, 'utf8'), '0')
})
