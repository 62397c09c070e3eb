import t from 'tap'

import { isOurs, nodePortOf } from '../../../src/datapath/ipvs/ownership.js'
import type { VirtualServer } from '../../../src/kernel/ipvs.js'
import { ranges } from '../../fixtures/objects.js'

const record = {
  bound: new Set(['10.96.0.1', '10.96.9.9']),
  nodePorts: new Set(['TCP 30080', 'SCTP 30090']),
  ownAddresses: new Set(['192.168.0.1']),
  excludeCidrs: ranges('10.96.9.0/24'),
}

function at(address: string, port: number, protocol: VirtualServer['protocol'] = 'TCP') {
  return isOurs(
    {
      protocol,
      address,
      port,
      scheduler: 'rr',
      flags: [],
      persistentSeconds: undefined,
      realServers: new Map(),
    },
    record,
  )
}

t.test('ours are those at bound addresses and at node ports', async (t) => {
  t.ok(at('10.96.0.1', 1), 'whatever the port')
  t.ok(at('192.168.0.1', 30080))
  t.notOk(at('192.168.0.1', 30080, 'UDP'), 'another protocol')
  t.notOk(at('192.168.0.1', 80), 'another port of the node')
  t.notOk(at('192.168.0.2', 30080), 'an address that the node has not')
  t.notOk(at('203.0.113.1', 80))
  t.notOk(at('10.96.9.9', 80), 'excluded')
})

t.test('entries of the sets of node ports', async (t) => {
  t.equal(nodePortOf('KUBE-NODE-PORT-LOCAL-TCP', '30080'), 'TCP 30080')
  t.equal(nodePortOf('KUBE-NODE-PORT-UDP', '30080'), 'UDP 30080')
  t.equal(nodePortOf('KUBE-NODE-PORT-SCTP-HASH', 'fd00::1,sctp:30090'), 'SCTP 30090')
})
