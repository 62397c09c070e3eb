import t from 'tap'

import { packedPort } from '../../fixtures/packed-port.js'
import { endpoint, portState, servicePort } from '../../fixtures/endpoint.js'
import { SteeringBench } from '../../fixtures/steering-bench.js'

const [one, two] = [endpoint('10.1.0.1'), endpoint('10.1.0.2')]

t.test('a slot is of the endpoint that has it now', async (t) => {
  const { vips } = new SteeringBench()
  const { id } = servicePort()
  const ownerOf = (slot: number) => vips.endpointOf(slot)?.servicePortId
  const set = (endpoints = [one]) => {
    vips.set(packedPort(portState(servicePort(), endpoints)))
  }
  set([one, two])
  t.equal(ownerOf(1), undefined, 'not before the first connection')
  t.equal(vips.unpackPort(id), true)
  t.strictSame([ownerOf(1), ownerOf(2), ownerOf(3)], [id, id, undefined])

  set([two])
  t.strictSame([ownerOf(1), ownerOf(2)], [undefined, id], 'an endpoint has gone')

  const other = servicePort({ name: 'other', clusterIp: '10.96.0.11' })
  vips.set(packedPort(portState(other, [one])))
  vips.unpackPort(other.id)
  set([two])
  t.strictSame([ownerOf(1), ownerOf(2)], [other.id, id], 'another Service port has got it')

  vips.remove(id)
  t.strictSame([ownerOf(1), ownerOf(2)], [other.id, undefined])
})
