import t from 'tap'

import {
  endpointChainName,
  PORT_CHAIN_PATTERN,
  portChainNames,
} from '../../../src/datapath/iptables/names.js'
import { servicePort } from '../../fixtures/endpoint.js'

const port = servicePort({ namespace: 'ns2', name: 'svc2', portName: 'p80' })

t.test('names are those of kube-proxy for the same objects', async (t) => {
  t.strictSame(portChainNames(port), {
    cluster: 'KUBE-SVC-GNZBNJ2PO5MGZ6GT',
    local: 'KUBE-SVL-GNZBNJ2PO5MGZ6GT',
    external: 'KUBE-EXT-GNZBNJ2PO5MGZ6GT',
    firewall: 'KUBE-FW-GNZBNJ2PO5MGZ6GT',
  })
  t.equal(endpointChainName(port, '10.180.0.2:80'), 'KUBE-SEP-RS4RBKLTHTF2IUXJ')
})

t.test('a port without a name, and another protocol, have names of their own', async (t) => {
  const names = [port, { ...port, portName: '' }, { ...port, protocol: 'UDP' as const }]
  t.equal(new Set(names.map((one) => portChainNames(one).cluster)).size, 3)
})

t.test('what may be removed is told by its name', async (t) => {
  const { firewall } = portChainNames(port)
  for (const name of [firewall, endpointChainName(port, '[fd00::1]:80')]) {
    t.match(name, PORT_CHAIN_PATTERN)
    t.ok(name.length <= 28)
  }
  for (const name of ['KUBE-SERVICES', 'KUBE-SLUICE-STEER', 'KUBE-FIREWALL', 'KUBE-SVC-own']) {
    t.notMatch(name, PORT_CHAIN_PATTERN)
  }
})
