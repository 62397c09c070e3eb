/**
 * A remembered client of session affinity that cannot be forgotten, on the real kernel. What is read
 * of the map is not what is in it, every time: as for a map whose entries all expire in between.
 */
import t from 'tap'

import type { AffinityEntries } from '../../src/datapath/nftables/affinity-clients.js'
import { AFFINITY_MAP } from '../../src/datapath/nftables/affinity-rules.js'
import type { LayoutOptions } from '../../src/datapath/nftables/layout.js'
import { NetlinkElementLoader } from '../../src/datapath/nftables/netlink-loader.js'
import { NftablesProxier } from '../../src/datapath/nftables/nftables-proxier.js'
import { TABLE } from '../../src/datapath/nftables/tables.js'
import { commandRunner } from '../../src/kernel/command.js'
import { Netfilter } from '../../src/kernel/netfilter.js'
import { NO_RULE_METRICS } from '../../src/observe/rule-metrics.js'
import { DEFAULT_MARK_MASK, markLayoutOf } from '../../src/packet/mark-layout.js'
import { endpoint, portState, servicePort, snapshotOf } from '../fixtures/endpoint.js'
import { FakeClock } from '../fixtures/fake-clock.js'
import { inNamespace, tool } from '../fixtures/in-namespace.js'

const CLIENT = '192.0.2.1 . 10.96.0.10 . tcp . 80'

const OPTIONS: LayoutOptions = {
  marks: markLayoutOf(DEFAULT_MARK_MASK),
  masqueradeAll: false,
  clusterCidrs: [],
  detectLocalMode: 'ClusterCIDR',
  nodePortAddresses: 'all',
  localhostNodePorts: true,
}

if (inNamespace(t, import.meta.url)) {
  t.test('it is counted, and forgotten once the kernel takes it', async (t) => {
    const netfilter = new Netfilter()
    let lost: AffinityEntries | undefined
    let failures = 0
    const proxier = new NftablesProxier({
      run: commandRunner(),
      clock: new FakeClock(),
      metrics: {
        ...NO_RULE_METRICS,
        nftablesCleanupFailed: () => {
          failures++
        },
      },
      loader: new NetlinkElementLoader(netfilter),
      families: ['IPv4'],
      layoutOptions: () => OPTIONS,
      affinityEntries: () => lost ?? netfilter.dumpElements('IPv4', TABLE, AFFINITY_MAP),
    })
    t.teardown(async () => {
      await proxier.close()
      netfilter.close()
    })
    const port = servicePort({ clusterIp: '10.96.0.10', affinityTimeoutSeconds: 600 })
    const snapshot = (ip: string) => snapshotOf([portState(port, [endpoint(ip, 8080)])])
    const remember = () => {
      const element = `{ ${CLIENT} : 10.244.1.2 . 8080 }`
      tool('nft', ['add', 'element', 'ip', TABLE, AFFINITY_MAP, element])
    }
    const remembered = () => tool('nft', ['list', 'map', 'ip', TABLE, AFFINITY_MAP])
    await proxier.sync(snapshot('10.244.1.2'))
    remember()
    lost = netfilter.dumpElements('IPv4', TABLE, AFFINITY_MAP)
    t.equal(lost.count, 1)
    tool('nft', ['flush', 'map', 'ip', TABLE, AFFINITY_MAP])
    await t.rejects(proxier.sync(snapshot('10.244.2.2')), /ENOENT/)
    t.equal(failures, 1)

    remember()
    lost = undefined
    await proxier.sync(snapshot('10.244.2.2'))
    t.equal(failures, 1)
    t.notMatch(remembered(), '192.0.2.1')
  })
}
