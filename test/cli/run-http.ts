import t from 'tap'

import { tellUnbound } from '../../src/cli/run-http.js'

t.test('a healthCheckNodePort that cannot be bound is a log line and an event', async (t) => {
  const said: unknown[][] = []
  const warn = (...args: unknown[]): void => {
    said.push(args)
  }
  const failure = { namespace: 'test', name: 'web', port: 32_000, reason: 'EADDRINUSE' }
  tellUnbound(failure, { log: { warn }, events: { warn } })
  const text = 'healthCheckNodePort 32000 cannot be bound: EADDRINUSE; tried again at the next sync'
  t.same(said, [
    [{ service: 'test/web', port: 32_000 }, `Service test/web: ${text}`],
    [
      { kind: 'Service', namespace: 'test', name: 'web' },
      'FailedToStartServiceHealthcheck',
      text,
      { action: 'Listen', isLogged: true },
    ],
  ])
})
