import t from 'tap'
import { endpointState, type EndpointFacts } from '../../src/observe/endpoint-state.js'
import type { Endpoint } from '../../src/model/endpoint.js'
import { modelEndpoint } from '../fixtures/objects.js'

const IN_USE: EndpointFacts = { isInUse: true, isUp: undefined, isEjected: false }
const DOWN: EndpointFacts = { isInUse: false, isUp: false, isEjected: true }

t.test('conditions come before weight, weight before health, health before ejection', async (t) => {
  const cases: readonly [string, Partial<Endpoint>, EndpointFacts][] = [
    ['up', {}, IN_USE],
    ['up', {}, { ...IN_USE, isUp: true }],
    ['unused', {}, { ...IN_USE, isInUse: false }],
    ['ejected', {}, { ...IN_USE, isEjected: true }],
    ['down', {}, DOWN],
    ['down', {}, { ...DOWN, isInUse: true }],
    ['draining', { weight: 0 }, DOWN],
    ['not ready', { weight: 0, isReady: false }, DOWN],
    ['terminating', { isReady: false, isTerminating: true }, DOWN],
    ['terminating', { isReady: false, isTerminating: true }, IN_USE],
  ]
  for (const [state, fields, facts] of cases) {
    t.equal(endpointState(modelEndpoint('10.244.0.1:80', fields), facts), state)
  }
})
