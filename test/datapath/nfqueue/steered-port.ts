import t from 'tap'

import {
  packEndpoints,
  type SteeredEndpoint,
  unpackPort,
} from '../../../src/datapath/nfqueue/steered-port.js'
import type { Endpoint } from '../../../src/model/endpoint.js'
import { endpoint, portState, servicePort } from '../../fixtures/endpoint.js'

const PORT = servicePort()

function pack(endpoints: readonly Endpoint[], slots: readonly (number | undefined)[]): string {
  const state = portState(PORT, endpoints)
  return packEndpoints(state, (one) => slots[endpoints.indexOf(one)])
}

function unpack(text: string) {
  return unpackPort({ servicePort: PORT, hasAny: true, endpoints: text, vips: [] })
}

t.test('a line says only what is not as the one before has it', async (t) => {
  const endpoints = ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4', '10.0.0.5', '10.0.0.6'].map(
    (ip, i) => endpoint(ip, 80, { weight: i === 5 ? 7 : 1 }),
  )
  t.equal(
    pack(endpoints, [11, 12, undefined, 13, 20, 21]),
    [
      '10.0.0.1 11 5 80 1',
      '10.0.0.2',
      '10.0.0.4',
      '10.0.0.5 20 5 80 1',
      '10.0.0.6 21 5 80 7',
      '',
    ].join('\n'),
  )
})

t.test('what is unpacked is what was packed', async (t) => {
  const endpoints = [
    endpoint('10.0.0.1', 80),
    endpoint('10.0.0.2', 80),
    endpoint('10.0.0.3', 80, { isLocal: true }),
    endpoint('10.0.0.4', 80, { isLocal: true }),
    endpoint('10.0.0.5', 80, { isReady: false, isTerminating: true }),
    endpoint('10.0.0.6', 8080),
    endpoint('fd00::1', 8080, { weight: 256 }),
    endpoint('fd00::2', 8080, { weight: 256 }),
  ]
  const slots = [5, 6, 7, 8, 9, 10, 1, 2]
  const state = unpack(pack(endpoints, slots))
  const seen = (state.endpoints as readonly SteeredEndpoint[]).map((one) => {
    const { id, ip, port, slot, weight, isReady, isLocal } = one
    return { id, ip, port, slot, weight, isReady, isLocal }
  })
  t.strictSame(
    seen,
    endpoints.map(({ id, ip, port, weight, isReady, isLocal }, i) => {
      return { id, ip, port, slot: slots[i], weight, isReady, isLocal }
    }),
  )
  t.strictSame(
    state.local.map(({ ip }) => ip),
    ['10.0.0.3', '10.0.0.4'],
  )
  t.equal(state.cluster.length, endpoints.length)
  t.strictSame(unpack('').endpoints, [])
})
