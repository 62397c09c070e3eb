import fc from 'fast-check'
import t from 'tap'

import { type IpFamily, type IpRange, parseIpRange } from '../../src/lib/ip-address.js'
import {
  BPF_MAXINSNS,
  compileSourceFilter,
  SOCK_FILTER_BYTES,
} from '../../src/packet/source-filter.js'

const NET_OFFSET = 0xfff00000

/** Runs a program on the source address of a packet, as the kernel would; counts the steps. */
function run(program: Uint8Array, source: Uint8Array): { accepted: boolean; steps: number } {
  const view = new DataView(program.buffer, program.byteOffset, program.byteLength)
  const offset = source.length === 4 ? 12 : 8
  let accumulator = 0
  let pc = 0
  for (let steps = 1; ; steps++) {
    const at = pc * SOCK_FILTER_BYTES
    // DataView throws on a read outside: a jump over the end fails the test.
    const code = view.getUint16(at, true)
    const k = view.getUint32(at + 4, true)
    pc++
    if (code === 0x20) {
      accumulator = new DataView(source.buffer, source.byteOffset).getUint32(
        k - NET_OFFSET - offset,
      )
    } else if (code === 0x35) pc += view.getUint8(at + (accumulator >= k ? 2 : 3))
    else if (code === 0x05) pc += k
    else if (code === 0x06) return { accepted: k !== 0, steps }
    else throw new Error(`instruction 0x${code.toString(16)} at ${pc - 1}`)
  }
}

function bytesOf(address: string): Uint8Array {
  return parseIpRange(`${address}/${address.includes(':') ? 128 : 32}`)!.bytes
}

function ranges(...texts: string[]): IpRange[] {
  return texts.map((text) => parseIpRange(text)!)
}

const cases: {
  name: string
  allowed: IpRange[]
  family: IpFamily
  accepted: string[]
  dropped: string[]
}[] = [
  {
    name: 'no range drops everything',
    allowed: [],
    family: 'IPv4',
    accepted: [],
    dropped: ['0.0.0.0', '10.0.0.1', '255.255.255.255'],
  },
  {
    name: 'a single address lets only itself in',
    allowed: ranges('10.1.2.3/32'),
    family: 'IPv4',
    accepted: ['10.1.2.3'],
    dropped: ['10.1.2.2', '10.1.2.4', '0.0.0.0', '255.255.255.255'],
  },
  {
    name: 'a range ends where its prefix ends',
    allowed: ranges('192.168.4.0/22'),
    family: 'IPv4',
    accepted: ['192.168.4.0', '192.168.7.255'],
    dropped: ['192.168.3.255', '192.168.8.0'],
  },
  {
    name: 'the ends of the address space are addresses like others',
    allowed: ranges('0.0.0.0/8', '255.0.0.0/8'),
    family: 'IPv4',
    accepted: ['0.0.0.0', '0.255.255.255', '255.0.0.0', '255.255.255.255'],
    dropped: ['1.0.0.0', '254.255.255.255'],
  },
  {
    name: 'neighbours and contained ranges are one',
    allowed: ranges('10.0.1.0/24', '10.0.0.0/24', '10.0.0.7/32', '10.0.0.0/25'),
    family: 'IPv4',
    accepted: ['10.0.0.0', '10.0.0.7', '10.0.0.255', '10.0.1.0', '10.0.1.255'],
    dropped: ['9.255.255.255', '10.0.2.0'],
  },
  {
    name: 'ranges of the other family match nothing',
    allowed: ranges('fd00::/8'),
    family: 'IPv4',
    accepted: [],
    dropped: ['10.0.0.1'],
  },
  {
    name: 'an IPv6 prefix that ends on a word needs no more words',
    allowed: ranges('fd00:1:2:3::/64'),
    family: 'IPv6',
    accepted: ['fd00:1:2:3::', 'fd00:1:2:3:ffff:ffff:ffff:ffff'],
    dropped: ['fd00:1:2:2:ffff:ffff:ffff:ffff', 'fd00:1:2:4::', '::'],
  },
  {
    name: 'IPv6 prefixes of all lengths live beside each other',
    allowed: ranges('2000::/3', 'fd00:1::1/128', 'fd00:1::2/127', 'fd00:1:0:8000::/49', '::1/128'),
    family: 'IPv6',
    accepted: ['::1', '3fff::1', 'fd00:1::1', 'fd00:1::3', 'fd00:1:0:ffff::1'],
    dropped: ['::', '::2', '4000::', 'fd00:1::', 'fd00:1::4', 'fd00:1:0:7fff::', 'ffff::'],
  },
]

t.test('verdicts', async (t) => {
  for (const { name, allowed, family, accepted, dropped } of cases) {
    t.test(name, async (t) => {
      const program = compileSourceFilter(allowed, family)!
      for (const ip of accepted) t.equal(run(program, bytesOf(ip)).accepted, true, `accepts ${ip}`)
      for (const ip of dropped) t.equal(run(program, bytesOf(ip)).accepted, false, `drops ${ip}`)
    })
  }
})

t.test('no filter is an empty program', async (t) => {
  t.same(compileSourceFilter('all', 'IPv4'), new Uint8Array())
  t.same(compileSourceFilter(ranges('10.0.0.0/8', '0.0.0.0/0'), 'IPv4'), new Uint8Array())
})

t.test('neighbours that are one range give the program of that range', async (t) => {
  t.same(
    compileSourceFilter(ranges('10.0.0.0/9', '10.128.0.0/9'), 'IPv4'),
    compileSourceFilter(ranges('10.0.0.0/8'), 'IPv4'),
  )
})

t.test('a thousand ranges fit and cost a dozen comparisons', async (t) => {
  const many = Array.from({ length: 1000 }, (_, i) => `10.${i >> 7}.${(i & 127) * 2}.0/24`)
  const program = compileSourceFilter(ranges(...many), 'IPv4')!
  t.ok(program.length / SOCK_FILTER_BYTES <= BPF_MAXINSNS)
  for (const [ip, accepted] of [
    ['10.0.0.1', true],
    ['10.7.206.9', true],
    ['10.3.5.1', false],
    ['11.0.0.0', false],
  ] as const) {
    const result = run(program, bytesOf(ip))
    t.equal(result.accepted, accepted, ip)
    t.ok(result.steps <= 30, `${result.steps} steps`)
  }
})

t.test('more ranges than the kernel takes are refused', async (t) => {
  const many = (length: number) =>
    ranges(...Array.from({ length }, (_, i) => `10.${i >> 7}.${(i & 127) * 2}.0/24`))
  t.equal(compileSourceFilter(many(2000), 'IPv4'), undefined)
  t.equal(compileSourceFilter(many(5000), 'IPv4'), undefined)
})

const octet = fc.integer({ min: 0, max: 3 })
const address = fc.oneof(
  fc.tuple(octet, octet, octet, octet).map((parts) => parts.map((part) => part * 85)),
  fc.array(fc.constantFrom(0, 1, 254, 255), { minLength: 16, maxLength: 16 }),
)

t.test('a program says what the ranges say', async (t) => {
  const range = (length: 4 | 16) =>
    fc
      .tuple(
        fc.uint8Array({ minLength: length, maxLength: length, max: 3 }),
        fc.integer({ min: 1, max: length * 8 }),
      )
      .map(([bytes, prefix]) => parseIpRange(`${textOf([...bytes])}/${prefix}`)!)
  for (const length of [4, 16] as const) {
    const family = length === 4 ? 'IPv4' : 'IPv6'
    const property = fc.property(
      fc.array(range(length), { maxLength: 30 }),
      address,
      (allowed, source) => {
        const program = compileSourceFilter(allowed, family)!
        const probes = [
          ...allowed.map(({ bytes }) => [...bytes]),
          ...allowed.map(({ bytes, prefixLength }) => lastOf(bytes, prefixLength)),
          ...(source.length === length ? [source] : []),
        ].flatMap((bytes) => [bytes, step(bytes, 1), step(bytes, -1)])
        for (const probe of probes) {
          const bytes = Uint8Array.from(probe)
          const expected = allowed.some((one) => isIn(one, bytes))
          if (run(program, bytes).accepted !== expected) {
            throw new Error(`${textOf(probe)} in ${allowed.map((one) => one.text).join(' ')}`)
          }
        }
      },
    )
    t.doesNotThrow(() => {
      fc.assert(property, { numRuns: 300 })
    }, family)
  }
})

function isIn({ bytes, prefixLength }: IpRange, address: Uint8Array): boolean {
  for (let bit = 0; bit < prefixLength; bit++) {
    const mask = 0x80 >> (bit & 7)
    if (((bytes[bit >> 3]! ^ address[bit >> 3]!) & mask) !== 0) return false
  }
  return true
}

function lastOf(bytes: Uint8Array, prefixLength: number): number[] {
  return [...bytes].map((byte, index) => {
    const bits = Math.min(8, Math.max(0, prefixLength - index * 8))
    return byte | (0xff >> bits)
  })
}

function step(bytes: number[], by: 1 | -1): number[] {
  const next = [...bytes]
  for (let index = next.length - 1; index >= 0; index--) {
    const value = next[index]! + by
    next[index] = value & 0xff
    if (value === next[index]) break
  }
  return next
}

function textOf(bytes: number[]): string {
  if (bytes.length === 4) return bytes.join('.')
  const hex = Buffer.from(bytes).toString('hex')
  return hex.match(/.{4}/g)!.join(':')
}
