import { Registry } from 'prom-client'
import t from 'tap'

import { RestClientMetrics } from '../../src/observe/rest-client-metrics.js'

t.test('names, labels and buckets are client-go’s', async (t) => {
  const registry = new Registry()
  const metrics = new RestClientMetrics(registry)
  const host = '192.0.2.1:6443'
  metrics.answered({ method: 'GET', host, status: 200, seconds: 0.02 })
  metrics.answered({ method: 'GET', host, status: 410, seconds: 0.3 })
  metrics.answered({ method: 'POST', host, status: undefined, seconds: 40 })
  const text = await registry.metrics()
  for (const line of [
    `rest_client_requests_total{code="200",host="${host}",method="GET"} 1`,
    `rest_client_requests_total{code="410",host="${host}",method="GET"} 1`,
    `rest_client_requests_total{code="<error>",host="${host}",method="POST"} 1`,
    `rest_client_request_duration_seconds_bucket{le="0.025",host="${host}",verb="GET"} 1`,
    `rest_client_request_duration_seconds_count{host="${host}",verb="GET"} 2`,
    `rest_client_request_duration_seconds_bucket{le="60",host="${host}",verb="POST"} 1`,
  ]) {
    t.match(text, `${line}\n`)
  }
})
