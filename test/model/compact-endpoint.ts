import t from 'tap'

import {
  CompactEndpoint,
  plainEndpoint,
  sameEndpoint,
  SharedTraits,
} from '../../src/model/compact-endpoint.js'
import type { Endpoint } from '../../src/model/endpoint.js'
import { endpoint } from '../fixtures/endpoint.js'

function compact(plain: Endpoint, shared = new SharedTraits()): CompactEndpoint {
  return new CompactEndpoint(plain.id, plain, shared.share(plain))
}

t.test('it says what the plain one says', async (t) => {
  const plain = endpoint('10.0.0.1', 8080, { isLocal: true, weight: 7, zone: 'a', podName: 'x-1' })
  t.strictSame(plainEndpoint(compact(plain)), plainEndpoint(plain))
  t.equal(compact(endpoint('10.0.0.1', 1)).ip, '10.0.0.1')
  t.equal(compact(endpoint('fd00::1', 80)).ip, 'fd00::1')
  t.equal(compact(endpoint('::', 65535)).ip, '::')
})

t.test('endpoints that differ in any field are not the same', async (t) => {
  const plain = endpoint('10.0.0.1', 80, { zoneHints: ['a'], nodeHints: ['n'] })
  t.ok(sameEndpoint(compact(plain), compact({ ...plain, zoneHints: ['a'] })))
  const other: Endpoint = {
    ...{ id: '10.0.0.2:80', ip: '10.0.0.2', port: 81, weight: 9, zone: 'z' },
    ...{ isLocal: !plain.isLocal, isReady: !plain.isReady },
    ...{ isServing: !plain.isServing, isTerminating: !plain.isTerminating },
    ...{ zoneHints: ['a', 'b'], nodeHints: [], nodeName: 'm', podName: 'q' },
  }
  t.strictSame(Object.keys(other).sort(), Object.keys(plain).sort(), 'all of them')
  for (const field of Object.keys(other) as (keyof Endpoint)[]) {
    if (field === 'ip') continue // it is part of the id
    const changed = compact({ ...plain, [field]: other[field] })
    t.notOk(sameEndpoint(compact(plain), changed), field)
  }
})

t.test('equal traits are one object, also over slices', async (t) => {
  const shared = new SharedTraits()
  const one = compact(endpoint('10.0.0.1', 80, { zone: 'a' }), shared)
  shared.begin()
  const two = compact(endpoint('10.0.0.2', 80, { zone: 'a' }), shared)
  const three = compact(endpoint('10.0.0.3', 80, { zone: 'b' }), shared)
  t.equal(one.traits, two.traits)
  t.not(one.traits, three.traits)
  t.equal(compact(endpoint('10.0.0.4', 80, { zone: 'b' }), shared).traits, three.traits)
})
