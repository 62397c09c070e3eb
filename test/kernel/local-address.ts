import t from 'tap'

import { localAddresses, primaryAddress } from '../../src/kernel/local-address.js'

const rest = { netmask: '', mac: '', cidr: null }

const interfaces = {
  lo: [
    { address: '127.0.0.1', family: 'IPv4', internal: true, ...rest },
    { address: '::1', family: 'IPv6', internal: true, scopeid: 0, ...rest },
  ],
  eth0: [
    { address: '192.0.2.7', family: 'IPv4', internal: false, ...rest },
    { address: '2001:DB8:0::7', family: 'IPv6', internal: false, scopeid: 0, ...rest },
    { address: 'fe80::1', family: 'IPv6', internal: false, scopeid: 2, ...rest },
  ],
  eth1: [{ address: '192.0.2.7', family: 'IPv4', internal: false, ...rest }],
} satisfies Parameters<typeof localAddresses>[0]

t.test('each address once, canonical, without link-local ones', async (t) => {
  t.same(
    localAddresses(interfaces).map(({ address, isLoopback }) => [address, isLoopback]),
    [
      ['127.0.0.1', true],
      ['::1', true],
      ['192.0.2.7', false],
      ['2001:db8::7', false],
    ],
  )
})

t.test('the primary address is no loopback address', async (t) => {
  const addresses = localAddresses(interfaces)
  t.equal(primaryAddress(addresses, 'IPv4'), '192.0.2.7')
  t.equal(primaryAddress(addresses, 'IPv6'), '2001:db8::7')
  t.equal(primaryAddress(localAddresses({ lo: interfaces.lo }), 'IPv4'), undefined)
})

t.test('this machine has at least a loopback address or none at all', async (t) => {
  t.equal(localAddresses().length, new Set(localAddresses().map((one) => one.address)).size)
})
