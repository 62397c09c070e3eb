import t from 'tap'

import { legacyTableSize, Netfilter } from '../../src/kernel/netfilter.js'
import {
  type ElementDump,
  type ElementOperation,
  VERDICT_ACCEPT,
  VERDICT_DROP,
} from '../../src/kernel/netfilter-addon-types.js'
import { writeAddress } from '../../src/lib/address-bytes.js'
import type { IpFamily } from '../../src/lib/ip-address.js'
import { inNamespace, tool } from '../fixtures/in-namespace.js'
import { missingTools } from '../packet-suite/iptables-tools.js'

const TABLE = 'ks-test'
const COUNT = 250_000
const FAMILIES = [
  { family: 'IPv4', nft: 'ip', type: 'ipv4_addr', one: '10.0.0.1', two: '10.0.0.2' },
  { family: 'IPv6', nft: 'ip6', type: 'ipv6_addr', one: 'fd00::1', two: 'fd00::2' },
] as const

function address(text: string): Buffer {
  const family: IpFamily = text.includes(':') ? 'IPv6' : 'IPv4'
  const bytes = Buffer.alloc(family === 'IPv6' ? 16 : 4)
  writeAddress(bytes, 0, text, family)
  return bytes
}

/** Fields of a concatenation: padded to 4 bytes. */
const port = (number: number): Buffer => Buffer.from([number >> 8, number & 255, 0, 0])
const protocol = (number: number): Buffer => Buffer.from([number, 0, 0, 0])

interface Elements {
  readonly keys: readonly Buffer[]
  readonly data?: readonly Buffer[]
  readonly comments?: readonly string[]
}

function operation(
  head: Pick<ElementOperation, 'verb' | 'family' | 'set'>,
  { keys, data, comments }: Elements,
): ElementOperation {
  let end = 0
  return {
    ...head,
    table: TABLE,
    count: keys.length,
    keyLength: keys[0]?.length ?? 0,
    keys: Buffer.concat(keys),
    dataLength: data?.[0]?.length ?? 0,
    ...(data && { data: Buffer.concat(data) }),
    ...(comments && {
      comments: Buffer.from(comments.join('')),
      commentEnds: Uint32Array.from(comments, (comment) => (end += Buffer.byteLength(comment))),
    }),
  }
}

/** A line for each element: key, data and comment. */
function linesOf({ count, keyLength, dataLength, ...dump }: ElementDump): string[] {
  const keys = Buffer.from(dump.keys).toString('hex')
  const data = Buffer.from(dump.data).toString('hex')
  const comments = Buffer.from(dump.comments)
  const lines = Array.from({ length: count }, (_, index) => {
    const key = keys.slice(index * keyLength * 2, (index + 1) * keyLength * 2)
    const value = data.slice(index * dataLength * 2, (index + 1) * dataLength * 2)
    const start = index === 0 ? 0 : dump.commentEnds[index - 1]
    return `${key} ${value} ${comments.toString('utf8', start, dump.commentEnds[index])}`
  })
  return lines.sort()
}

const listed = (family: string, kind: string, set: string): string =>
  tool('nft', ['list', kind, family, TABLE, set]).replaceAll(/\s+/g, ' ')

/** What a call is refused with. */
function refusalOf(call: () => unknown): { errnoName?: string; message?: string } {
  try {
    call()
  } catch (error) {
    return error as { errnoName?: string; message?: string }
  }
  throw new Error('it was not refused')
}

if (inNamespace(t, import.meta.url)) {
  const netfilter = new Netfilter()
  t.teardown(() => {
    netfilter.close()
  })
  for (const { nft, type } of FAMILIES) {
    const sets = [
      `set keys { type ${type}; }`,
      `map large { type mark : ${type} . inet_service; }`,
      `map ports { type ${type} . inet_service : ${type} . inet_service; }`,
      `set ranges { type ${type} . inet_service; flags interval; }`,
      `map verdicts { type ${type} . inet_proto . inet_service : verdict; }`,
    ]
    const chains = ['chain svc-a { }', 'chain svc-b { }']
    tool('nft', ['-f', '-'], `table ${nft} ${TABLE} {\n${[...chains, ...sets].join('\n')}\n}\n`)
  }

  for (const { family, nft, one, two } of FAMILIES) {
    const add = { verb: 'add', family } as const

    t.test(`${family}: elements are added, listed by nft, dumped and deleted`, async (t) => {
      const keys = [
        Buffer.concat([address(one), port(80)]),
        Buffer.concat([address(two), port(443)]),
      ]
      const data = keys.toReversed()
      const comments = ['default/web:http', 'ä "quoted" one']
      const head = { ...add, set: 'ports' }
      netfilter.changeElements([operation(head, { keys, data, comments })])
      const hex = keys.map((key) => key.toString('hex'))
      t.same(linesOf(netfilter.dumpElements(family, TABLE, 'ports')), [
        `${hex[0]} ${hex[1]} default/web:http`,
        `${hex[1]} ${hex[0]} ä "quoted" one`,
      ])
      const text = listed(nft, 'map', 'ports')
      t.match(text, `${one} . 80 comment "default/web:http" : ${two} . 443`)
      netfilter.changeElements([operation({ ...head, verb: 'delete' }, { keys: [keys[0]!] })])
      t.same(linesOf(netfilter.dumpElements(family, TABLE, 'ports')), [
        `${hex[1]} ${hex[0]} ä "quoted" one`,
      ])
      netfilter.changeElements([operation({ ...head, verb: 'flush' }, { keys: [] })])
      t.equal(netfilter.dumpElements(family, TABLE, 'ports').count, 0)
    })

    t.test(`${family}: elements of a verdict map go to chains, or end here`, async (t) => {
      const keys = [80, 81, 82].map((number) =>
        Buffer.concat([address(one), protocol(6), port(number)]),
      )
      netfilter.changeElements([
        {
          ...operation({ ...add, set: 'verdicts' }, { keys, comments: ['to b', '', 'no'] }),
          chains: ['svc-a', 'svc-b'],
          verdicts: Uint32Array.of(1, VERDICT_ACCEPT, VERDICT_DROP),
        },
      ])
      const text = listed(nft, 'map', 'verdicts')
      t.match(text, `${one} . tcp . 80 comment "to b" : goto svc-b`)
      t.match(text, `${one} . tcp . 81 : accept`)
      t.match(text, `${one} . tcp . 82 comment "no" : drop`)
      t.equal(netfilter.dumpElements(family, TABLE, 'verdicts').dataLength, 0)
    })

    t.test(`${family}: intervals of concatenations have two ends`, async (t) => {
      const keys = [Buffer.concat([address(one), port(80)])]
      const keyEnds = Buffer.concat([address(two), port(90)])
      const ranges = { ...operation({ ...add, set: 'ranges' }, { keys }), keyEnds }
      netfilter.changeElements([ranges])
      t.match(listed(nft, 'set', 'ranges'), `${one}-${two} . 80-90`)
      netfilter.changeElements([{ ...ranges, verb: 'delete' }])
      t.equal(netfilter.dumpElements(family, TABLE, 'ranges').count, 0)
    })

    t.test(`${family}: a transaction that is refused leaves nothing`, async (t) => {
      const good = operation({ ...add, set: 'keys' }, { keys: [address(one)] })
      const missing = operation(
        { verb: 'delete', family, set: 'ports' },
        { keys: [Buffer.concat([address(two), port(1)])] },
      )
      const nowhere = { ...good, set: 'nowhere' }
      for (const bad of [missing, nowhere, { ...good, table: 'nowhere' }]) {
        const refusal = refusalOf(() => {
          netfilter.changeElements([good, bad])
        })
        t.equal(refusal.errnoName, 'ENOENT')
        t.match(refusal.message, `${bad.table}/${bad.set}`)
        t.equal(netfilter.dumpElements(family, TABLE, 'keys').count, 0)
      }
      const noSet = refusalOf(() => netfilter.dumpElements(family, TABLE, 'nowhere'))
      t.equal(noSet.errnoName, 'ENOENT')
    })

    t.test(`${family}: more refusals than the socket can hold have the same reason`, async (t) => {
      const lost = operation({ ...add, set: 'nowhere' }, { keys: [address(one)] })
      for (let round = 0; round < 3; round++) {
        const refusal = refusalOf(() => {
          netfilter.changeElements(Array.from({ length: 2000 }, () => lost))
        })
        t.equal(refusal.errnoName, 'ENOENT')
      }
      const good = operation({ ...add, set: 'keys' }, { keys: [address(one)] })
      netfilter.changeElements([good])
      netfilter.changeElements([{ ...good, verb: 'delete' }])
    })
  }

  t.test(`${COUNT} elements with comments are one transaction`, async (t) => {
    const data = Buffer.concat([address('10.0.0.1'), port(8080)])
    const marks = Array.from({ length: COUNT }, (_, index) => {
      const key = Buffer.alloc(4)
      key.writeUInt32LE(index + 1)
      return key
    })
    const head = { verb: 'add', family: 'IPv4', set: 'large' } as const
    const comments = marks.map((_, index) => `endpoint ${index + 1}`)
    const large = operation(head, { keys: marks, data: marks.map(() => data), comments })
    netfilter.changeElements([large])
    // At once: the kernel has not done yet with enlarging its table.
    const dump = netfilter.dumpElements('IPv4', TABLE, 'large')
    t.equal(dump.count, COUNT)
    const hex = data.toString('hex')
    const expected = marks.map((mark, index) => `${mark.toString('hex')} ${hex} ${comments[index]}`)
    t.ok(linesOf(dump).join('\n') === expected.sort().join('\n'), 'and they are what was added')
    netfilter.changeElements([{ ...large, verb: 'delete' }])
    t.equal(netfilter.dumpElements('IPv4', TABLE, 'large').count, 0)
  })

  for (const { family, one, two } of FAMILIES) {
    t.test(`${family}: entries of ipsets, that are there already or not any more`, async (t) => {
      const inet = family === 'IPv4' ? 'inet' : 'inet6'
      const set = `ks-${inet}`
      tool('ipset', ['create', set, 'hash:ip,port', 'family', inet])
      const entry = (text: string, kind: number, number: number): Buffer =>
        Buffer.concat([address(text), Buffer.from([kind, 0]), port(number).subarray(0, 2)])
      const entries = [entry(one, 6, 80), entry(two, 17, 53), entry(two, 132, 40000)]
      const bytes = Buffer.concat(entries)
      const members = (): string[] => {
        const text = tool('ipset', ['list', set])
        return text
          .slice(text.indexOf('Members:\n') + 9)
          .trim()
          .split('\n')
          .sort()
      }
      for (let times = 0; times < 2; times++) {
        netfilter.changeIpset(set, family, 'add', { bytes, count: 3 })
        t.same(members(), [`${one},tcp:80`, `${two},sctp:40000`, `${two},udp:53`])
      }
      for (let times = 0; times < 2; times++) {
        netfilter.changeIpset(set, family, 'delete', { bytes, count: 2 })
        t.same(members(), [`${two},sctp:40000`])
      }
      netfilter.changeIpset(set, family, 'add', { bytes, count: 0 })
      const many = Buffer.concat(Array.from({ length: 5000 }, (_, index) => entry(one, 6, index)))
      netfilter.changeIpset(set, family, 'add', { bytes: many, count: 5000 })
      t.equal(members().length, 5001)
    })

    t.test(`${family}: an unknown ipset is named`, async (t) => {
      const bytes = Buffer.alloc(20)
      const refusal = refusalOf(() => {
        netfilter.changeIpset('ks-nowhere', family, 'add', { bytes, count: 1 })
      })
      t.equal(refusal.errnoName, 'ENOENT')
      t.match(refusal.message, 'ks-nowhere')
    })
  }

  t.test('rules of a chain and of a table are counted', (t) => {
    for (const { family, nft } of FAMILIES) {
      const rules = ['svc-a accept', 'svc-a drop', 'svc-b accept']
      const lines = rules.map((rule) => `add rule ${nft} ${TABLE} ${rule}\n`)
      tool('nft', ['-f', '-'], lines.join(''))
      t.equal(netfilter.countRules(family, TABLE, 'svc-a'), 2)
      t.equal(netfilter.countRules(family, TABLE), 3)
      tool('nft', ['flush', 'chain', nft, TABLE, 'svc-a'])
      t.equal(netfilter.countRules(family, TABLE, 'svc-a'), 0)
      t.equal(netfilter.countRules(family, TABLE, 'nowhere'), 0)
      t.equal(netfilter.countRules(family, 'nowhere'), 0)
    }
    t.end()
  })

  const legacy = { skip: missingTools('legacy') }
  t.test('the size of a legacy table tells of a flush', legacy, (t) => {
    for (const { family, nft } of FAMILIES) {
      const iptables = (...words: readonly string[]) =>
        tool(`${nft}tables-legacy`, ['-w', '-t', 'nat', ...words])
      iptables('-N', 'KUBE-X')
      iptables('-A', 'KUBE-X', '-j', 'RETURN')
      const size = legacyTableSize(family, 'nat')
      t.match(size, /^\d+ rules, \d+ bytes$/)
      t.equal(legacyTableSize(family, 'nat'), size)
      iptables('-F')
      t.not(legacyTableSize(family, 'nat'), size)
      iptables('-A', 'KUBE-X', '-j', 'RETURN')
      t.equal(legacyTableSize(family, 'nat'), size)
      t.equal(refusalOf(() => legacyTableSize(family, 'nowhere')).errnoName, 'ENOENT')
    }
    t.end()
  })

  t.test('two sockets at once do not take each other’s answers', async (t) => {
    const other = new Netfilter()
    t.teardown(() => {
      other.close()
    })
    const keys = [address('192.0.2.1')]
    const head = { verb: 'add', family: 'IPv4', set: 'keys' } as const
    netfilter.changeElements([operation(head, { keys })])
    t.equal(refusalOf(() => other.dumpElements('IPv4', TABLE, 'nowhere')).errnoName, 'ENOENT')
    t.equal(netfilter.dumpElements('IPv4', TABLE, 'keys').count, 1)
    other.changeElements([operation({ ...head, verb: 'delete' }, { keys })])
    t.equal(netfilter.dumpElements('IPv4', TABLE, 'keys').count, 0)
  })

  t.test('closed twice is closed once, and cannot be used', async (t) => {
    const closed = new Netfilter()
    closed.close()
    closed.close()
    t.throws(() => closed.dumpElements('IPv4', TABLE, 'keys'), TypeError)
    t.throws(() => closed.deleteConnection('IPv4', new Uint32Array(10)), TypeError)
    const entries = { bytes: Buffer.alloc(8), count: 1 }
    t.throws(() => {
      closed.changeIpset('ks-inet', 'IPv4', 'add', entries)
    }, TypeError)
  })
}
