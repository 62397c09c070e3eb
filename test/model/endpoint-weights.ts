import t from 'tap'
import { categorizeEndpoints } from '../../src/model/categorize-endpoints.js'
import { endpointWeights } from '../../src/model/endpoint-weights.js'
import { endpoint, servicePort } from '../fixtures/endpoint.js'

function read(text: unknown) {
  const problems: string[] = []
  const annotations = { 'kube-sluice.io/weights': text as string }
  const weights = endpointWeights(annotations, (field, message) => {
    problems.push(`${field}: ${message}`)
  })
  return { weights: Object.fromEntries(weights), problems }
}

t.test('no annotation, no weights', async (t) => {
  const report = () => t.fail('nothing is wrong')
  t.equal(endpointWeights(undefined, report).size, 0)
  t.equal(endpointWeights({}, report).size, 0)
})

t.test('weights by canonical address', async (t) => {
  t.strictSame(read('{"10.0.0.1": 0, "FD00:0::1": 256}'), {
    weights: { '10.0.0.1': 0, 'fd00::1': 256 },
    problems: [],
  })
})

for (const text of ['', 'x', '[1]', 'null', '3', '"a"', 7]) {
  t.test(`${JSON.stringify(text)} is no JSON object: one problem, no weights`, async (t) => {
    const { weights, problems } = read(text)
    t.strictSame(weights, {})
    t.equal(problems.length, 1)
    t.match(problems[0], /kube-sluice.io\/weights.*JSON object/)
  })
}

t.test('a bad entry costs only itself', async (t) => {
  const { weights, problems } = read(
    '{"10.0.0.1": 5, "10.0.0.300": 1, "10.0.0.2": -1, "10.0.0.3": 257, "10.0.0.4": "9", "10.0.0.5": 1.5}',
  )
  t.strictSame(weights, { '10.0.0.1': 5 })
  t.equal(problems.length, 5)
  t.match(problems[1], /10\.0\.0\.2 must be an integer from 0 to 256, is -1; 1 is used/)
})

t.test('an endpoint of weight 0 gets nothing, and a port with no other has none', async (t) => {
  const [a, b] = [endpoint('10.0.0.1', 80, { weight: 0, isLocal: true }), endpoint('10.0.0.2')]
  const port = servicePort({ externalPolicyLocal: true, nodePort: 30_000 })
  const topology = { name: 'node-a', zone: undefined }
  const some = categorizeEndpoints([a, b], port, topology)
  t.strictSame([some.cluster, some.local, some.reachable, some.hasAny], [[b], [], [b], true])
  const none = categorizeEndpoints([a], port, topology)
  t.strictSame([none.cluster, none.local, none.reachable, none.hasAny], [[], [], [], false])
})
