import fc from 'fast-check'
import t from 'tap'
import {
  familyOf,
  formatAddress,
  hostRange,
  intersectRanges,
  parseIpAddress,
  parseIpRange,
  rangeContains,
  splitAddress,
  type IpRange,
} from '../../src/lib/ip-address.js'

const ADDRESSES: readonly (readonly [name: string, text: string, canonical: string | undefined])[] =
  [
    ['an IPv4 address stays as it is', '10.0.0.1', '10.0.0.1'],
    ['leading zeros are decimal, not octal', '172.30.0.041', '172.30.0.41'],
    ['many leading zeros are dropped', '0000192.000.0.008', '192.0.0.8'],
    ['surrounding blanks are trimmed', ' \t10.0.0.1\n', '10.0.0.1'],
    ['an octet above 255 is no address', '10.0.0.300', undefined],
    ['three octets are no address', '10.0.1', undefined],
    ['five octets are no address', '1.2.3.4.5', undefined],
    ['a bare number is no address', '16909060', undefined],
    ['hexadecimal octets are no address', '0x7f.0.0.1', undefined],
    ['a signed octet is no address', '1.2.3.-4', undefined],
    ['an inner blank is no address', '1.2. 3.4', undefined],
    ['an empty text is no address', '', undefined],
    ['a host name is no address', 'example.com', undefined],
    ['an address with a prefix length is no address', '10.0.0.0/8', undefined],
    ['IPv6 is printed in lower case', 'FD00:10:96::A', 'fd00:10:96::a'],
    ['IPv6 zeros are compressed', '2001:0db8:0000:0000:0001:0000:0000:0001', '2001:db8::1:0:0:1'],
    ['the longest run of zeros is compressed', '1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['a single zero group is not compressed', '1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
    ['the unspecified IPv6 address', '0:0:0:0:0:0:0:0', '::'],
    ['an IPv4-mapped address is the IPv4 address', '::ffff:10.1.2.3', '10.1.2.3'],
    ['an IPv4-mapped address in hex is too', '::ffff:0a01:0203', '10.1.2.3'],
    ['a mapped address with leading zeros', '::ffff:010.001.2.3', '10.1.2.3'],
    ['an IPv4-compatible address is not mapped', '::1.2.3.4', '::102:304'],
    ['a dotted tail behind another prefix', '64:ff9b::192.0.2.1', '64:ff9b::c000:201'],
    ['a zone id is not accepted', 'fe80::1%eth0', undefined],
    ['two compressions are no address', '1::2::3', undefined],
    ['nine groups are no address', '1:2:3:4:5:6:7:8:9', undefined],
    ['a group of five digits is no address', '12345::', undefined],
    ['brackets are no part of an address', '[::1]', undefined],
    ['text of absurd length is no address', `${'0'.repeat(1000)}1.2.3.4`, undefined],
  ]

for (const [name, text, canonical] of ADDRESSES) {
  t.test(`address: ${name}`, async (t) => {
    t.equal(parseIpAddress(text), canonical)
  })
}

const RANGES: readonly (readonly [name: string, text: string, canonical: string | undefined])[] = [
  ['a range stays as it is', '10.0.0.0/8', '10.0.0.0/8'],
  ['host bits are zeroed', '10.1.2.3/8', '10.0.0.0/8'],
  ['host bits inside a byte are zeroed', '192.168.255.255/18', '192.168.192.0/18'],
  ['leading zeros in address and length', '203.0.113.000/025', '203.0.113.0/25'],
  ['blanks around', '  203.0.113.128/25 ', '203.0.113.128/25'],
  ['everything', '1.2.3.4/0', '0.0.0.0/0'],
  ['one address', '1.2.3.4/32', '1.2.3.4/32'],
  ['an IPv6 range', 'FD00:1:2:3::4/48', 'fd00:1:2::/48'],
  ['an IPv6 length inside a byte', '2001:db8:ffff::/37', '2001:db8:f800::/37'],
  ['an IPv4-mapped range is an IPv4 range', '::ffff:10.1.2.3/104', '10.0.0.0/8'],
  ['a range wider than the mapped ones is IPv6', '::ffff:10.1.2.3/80', '::/80'],
  ['no length', '10.0.0.0', undefined],
  ['an empty length', '10.0.0.0/', undefined],
  ['a length above 32', '10.0.0.0/33', undefined],
  ['a length above 128', '::/129', undefined],
  ['a negative length', '10.0.0.0/-1', undefined],
  ['a netmask', '10.0.0.0/255.0.0.0', undefined],
  ['two slashes', '10.0.0.0/8/8', undefined],
  ['blanks inside', '10.0.0.0 / 8', undefined],
]

for (const [name, text, canonical] of RANGES) {
  t.test(`range: ${name}`, async (t) => {
    t.equal(parseIpRange(text)?.text, canonical)
  })
}

t.test('a range has its family, bytes and length', async (t) => {
  t.match(parseIpRange('10.0.0.0/8'), { family: 'IPv4', prefixLength: 8 })
  t.same([...range('10.0.0.0/8').bytes], [10, 0, 0, 0])
  t.match(parseIpRange('fd00::/8'), { family: 'IPv6', prefixLength: 8 })
  t.equal(range('fd00::/8').bytes.length, 16)
})

t.test('hostRange holds one address', async (t) => {
  t.equal(hostRange('10.0.0.1').text, '10.0.0.1/32')
  t.equal(hostRange('fd00::1').text, 'fd00::1/128')
  t.throws(() => hostRange('nonsense'), RangeError)
})

t.test('rangeContains', async (t) => {
  t.ok(rangeContains(range('10.0.0.0/9'), '10.127.255.255'))
  t.notOk(rangeContains(range('10.0.0.0/9'), '10.128.0.0'))
  t.ok(rangeContains(range('0.0.0.0/0'), '255.255.255.255'))
  t.ok(rangeContains(range('fd00::/8'), 'fdff::1'))
  t.notOk(rangeContains(range('::/0'), '10.0.0.1'), 'the other family is never inside')
  t.notOk(rangeContains(range('0.0.0.0/0'), '::1'))
})

t.test('familyOf, formatAddress and splitAddress', async (t) => {
  t.equal(familyOf('10.0.0.1'), 'IPv4')
  t.equal(familyOf('::1'), 'IPv6')
  t.equal(formatAddress('1.2.3.4', 80), '1.2.3.4:80')
  t.equal(formatAddress('::1', 80), '[::1]:80')
  t.strictSame(splitAddress('1.2.3.4:80'), { ip: '1.2.3.4', port: 80 })
  t.strictSame(splitAddress('[::1]:80'), { ip: '::1', port: 80 })
})

t.test('intersectRanges', async (t) => {
  const of = (a: string[], b: string[]): string[] =>
    intersectRanges(a.map(range), b.map(range)).map(({ text }) => text)
  t.same(of(['10.0.0.0/8'], ['10.1.0.0/16', '192.168.0.0/16']), ['10.1.0.0/16'])
  t.same(of(['10.1.0.0/16'], ['10.0.0.0/8', '0.0.0.0/0']), ['10.1.0.0/16'], 'no repetition')
  t.same(of(['10.0.0.0/8', '10.1.0.0/16'], ['0.0.0.0/0']), ['10.0.0.0/8'], 'no nested range')
  t.same(of(['10.0.0.0/8'], ['fd00::/8']), [])
  t.same(of([], ['0.0.0.0/0']), [])
})

const ipv4 = fc.ipV4()
const anyRange = fc
  .tuple(fc.constantFrom('10', '11', '192'), fc.nat(255), fc.integer({ min: 0, max: 32 }))
  .map(([first, second, length]) => range(`${first}.${second}.0.0/${length}`))

t.test('an address is in the intersection exactly when it is in both lists', async () => {
  fc.assert(
    fc.property(fc.array(anyRange), fc.array(anyRange), ipv4, (a, b, ip) => {
      const inList = (list: readonly IpRange[]): boolean =>
        list.some((item) => rangeContains(item, ip))
      return inList(intersectRanges(a, b)) === (inList(a) && inList(b))
    }),
  )
})

t.test('what is printed is read back as itself', async () => {
  fc.assert(
    fc.property(fc.oneof(ipv4, fc.ipV6()), (text) => {
      const canonical = parseIpAddress(text)
      return canonical !== undefined && parseIpAddress(canonical) === canonical
    }),
  )
})

t.test('no text makes a parser throw', async () => {
  const text = fc.oneof(
    fc.string(),
    fc.string({ unit: fc.constantFrom(...Array.from('0123456789abcdef:./% ')) }),
  )
  fc.assert(
    fc.property(text, (garbage) => {
      parseIpAddress(garbage)
      const parsed = parseIpRange(garbage)
      return parsed === undefined || parseIpRange(parsed.text)?.text === parsed.text
    }),
  )
})

function range(text: string): IpRange {
  const parsed = parseIpRange(text)
  if (parsed === undefined) throw new Error(`bad range in the test: ${text}`)
  return parsed
}
