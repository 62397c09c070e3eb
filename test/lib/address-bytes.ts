import fc from 'fast-check'
import t from 'tap'

import { writeAddress } from '../../src/lib/address-bytes.js'
import { familyOf, hostRange, parseIpAddress } from '../../src/lib/ip-address.js'

const bytesOf = (ip: string) => {
  const family = familyOf(ip)
  const length = family === 'IPv4' ? 4 : 16
  const target = new Uint8Array(length + 2).fill(0xee)
  writeAddress(target, 1, ip, family)
  t.equal(target[0], 0xee)
  t.equal(target[length + 1], 0xee)
  return target.subarray(1, length + 1)
}

for (const ip of [
  '0.0.0.0',
  '10.96.0.10',
  '255.255.255.255',
  '::',
  '::1',
  'fd00::',
  'fd00:1::2',
  '2001:db8:1:2:3:4:5:6',
  '1:2:3:4:5:6:7::',
  '::2:3:4:5:6:7:8',
  'fe80::abcd:0:0:1',
]) {
  t.test(ip, async (t) => {
    t.strictSame([...bytesOf(ip)], [...hostRange(ip).bytes])
  })
}

t.test('any canonical address', async () => {
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
      const ip = parseIpAddress(text)
      if (ip === undefined) return true
      return Buffer.from(bytesOf(ip)).equals(Buffer.from(hostRange(ip).bytes))
    }),
  )
})

t.test('text that is no address stays within its bytes', async () => {
  for (const text of ['1.2.3.4.5.6', 'x', ':::::', '1:2:3:4:5:6:7:8:9:a:b']) {
    bytesOf(text)
  }
})
