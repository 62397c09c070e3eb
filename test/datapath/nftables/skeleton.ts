import t from 'tap'

import {
  isMadeFrom,
  removalText,
  skeletonText,
  type SkeletonOptions,
} from '../../../src/datapath/nftables/skeleton.js'
import { DEFAULT_MARK_MASK, markLayoutOf } from '../../../src/packet/mark-layout.js'
import { ranges } from '../../fixtures/objects.js'

const options: SkeletonOptions = {
  family: 'IPv4',
  marks: markLayoutOf(DEFAULT_MARK_MASK),
  masqueradeAll: false,
  podRange: ranges('10.244.0.0/16')[0],
  nodePortsAtAll: true,
  localhostNodePorts: false,
  affinityMaxClients: 65_536,
  dropsInvalid: false,
  room: 0,
}
/** The rules of a chain. */
const chain = (name: string, over: Partial<SkeletonOptions> = {}): string[] => {
  const text = skeletonText({ ...options, ...over })
  const body = new RegExp(`chain ${name} \\{\\n(.*?)\\n  \\}`, 's').exec(text)?.[1] ?? ''
  return body.split('\n').map((line) => line.trim())
}

t.test('it is the same text each time, and another version for other options', async (t) => {
  const text = skeletonText(options)
  t.equal(skeletonText({ ...options }), text)
  t.match(text, /comment "version [0-9a-f]{16}"/)
  const other = skeletonText({ ...options, masqueradeAll: true })
  t.ok(isMadeFrom(text, text, 1e6), 'it grows by itself')
  t.notOk(isMadeFrom(other, text, 1))
  t.notOk(isMadeFrom('', text, 1))
  t.notOk(isMadeFrom('', '', 1))
  t.ok(text.startsWith(removalText('IPv4')), 'a table that is there is replaced')
})

t.test('a table with another room serves as well, if it is large enough', async (t) => {
  const [none, small, large] = [0, 1024, 4096].map((room) => skeletonText({ ...options, room }))
  t.match(small, /comment "version [0-9a-f]{16}, room for 1024"/)
  t.equal(small!.match(/size 1024\n/g)?.length, 2, 'two maps have one element for each endpoint')
  for (const wanted of [none!, small!, large!]) {
    t.ok(isMadeFrom(none!, wanted, 1e6))
    t.ok(isMadeFrom(small!, wanted, 1024))
    t.notOk(isMadeFrom(small!, wanted, 1025))
    t.ok(isMadeFrom(large!, wanted, 1025))
  }
})

t.test('only our bits of the conntrack mark are written', async (t) => {
  for (const family of ['IPv4', 'IPv6'] as const) {
    const writes = skeletonText({ ...options, family }).match(/mark set .*/g) ?? []
    t.ok(writes.length > 0)
    for (const write of writes) t.equal(write, 'mark set ct mark | 0x20000000')
  }
})

t.test('cluster IPs: what is masqueraded', async (t) => {
  const masquerade = 'ct mark set ct mark | 0x20000000'
  const [, first] = chain('vip-cluster-ip')
  t.equal(first, `ip saddr != 10.244.0.0/16 ${masquerade}`)
  t.equal(chain('vip-cluster-ip', { masqueradeAll: true })[1], masquerade)
  t.notMatch(chain('vip-cluster-ip', { podRange: undefined }).join(), 'mark')
  t.equal(chain('vip-cluster-ip', { podRange: undefined, masqueradeAll: true })[1], masquerade)
})

t.test('node ports: where they are served', async (t) => {
  const served = (over: Partial<SkeletonOptions>) => chain('services', over).at(-1)
  t.match(served({}), 'fib daddr type local ip daddr != 127.0.0.0/8 meta')
  t.match(served({ localhostNodePorts: true }), 'fib daddr type local meta')
  t.match(served({ nodePortsAtAll: false }), 'fib daddr type local ip daddr @nodeport-ips meta')
  t.match(served({ family: 'IPv6', localhostNodePorts: true }), 'ip6 daddr != ::1')
  t.notMatch(skeletonText(options), 'closed to neighbours')
  t.match(chain('filter-input', { localhostNodePorts: true }).join(), 'closed to neighbours')
})

t.test('without a local detector there are no pods', async (t) => {
  const text = skeletonText({ ...options, podRange: undefined })
  t.notMatch(text, /saddr (!= )?[0-9]/)
  t.strictSame(chain('guard-local-policy', { podRange: undefined }).slice(1), [
    'fib saddr type local return',
    'drop',
  ])
})

t.test('every chain, set and map says what it is for', async (t) => {
  const text = skeletonText(options)
  const heads = text.match(/^ {2}(chain|set|map) .*\n.*$/gm) ?? []
  t.ok(heads.length > 160)
  for (const head of heads) if (!/\n {4}comment ".{5,}"$/.test(head)) t.fail(head)
})
