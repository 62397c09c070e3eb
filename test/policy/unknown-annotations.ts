import t from 'tap'

import { SERVICE_ANNOTATIONS } from '../../src/cli/annotation-readers.js'
import { unknownAnnotations } from '../../src/policy/unknown-annotations.js'
import { servicePort } from '../fixtures/endpoint.js'

const read = unknownAnnotations(SERVICE_ANNOTATIONS)
const problemsOf = (annotations: Record<string, string>) =>
  read(servicePort({ namespace: 'test', name: 'web', annotations }))

t.test('what somebody reads, or reports himself, is no problem', async (t) => {
  t.same(
    problemsOf({
      balancer: 'maglev',
      'balancer-slow-start': '10s',
      'balancer-slow-strat': '10s',
      'health-check': 'tcp',
      'health-check.web': 'http',
      'health-check-path.web': '/',
      'stay-in-userspace': 'true',
    }),
    [],
  )
})

t.test('a slip of the pen is told with what was meant', async (t) => {
  t.same(problemsOf({ blancer: 'maglev' }), [
    {
      object: 'Service test/web',
      field: 'metadata.annotations["kube-sluice.io/blancer"]',
      message: 'is not known and ignored; did you mean kube-sluice.io/balancer?',
    },
  ])
  t.equal(problemsOf({ 'balancer.web': 'maglev' }).length, 1)
  t.equal(problemsOf({ colour: 'blue' })[0]?.message, 'is not known and ignored')
})

t.test('weights belong to EndpointSlices', async (t) => {
  const [problem] = problemsOf({ weights: '{"10.0.0.1": 3}' })
  t.equal(problem?.message, 'belongs to the EndpointSlices of the Service; it is ignored here')
})
