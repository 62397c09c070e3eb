import t from 'tap'

import { createEvents } from '../../src/cli/run-events.js'
import type { RunConfig } from '../../src/config/run-config.js'
import { createLog } from '../../src/observe/log.js'
import type { EventRecord } from '../../src/observe/events.js'

async function eventsOf(proxyMode: RunConfig['proxyMode']): Promise<Partial<EventRecord>[]> {
  const written: Partial<EventRecord>[] = []
  const events = createEvents({ nodeName: 'node-a', proxyMode }, createLog('silent'), (record) => {
    const { type, subject, reason, action, note } = record
    written.push({ type, subject, reason, action, note })
    return Promise.resolve()
  })
  await events.close()
  return written
}

const subject = { kind: 'Node', name: 'node-a' } as const
const starting = {
  ...{ type: 'Normal', subject, reason: 'Starting', action: 'StartKubeProxy', note: '' },
}

t.test('the start is an event on the node, as kube-proxy’s is', async (t) => {
  t.strictSame(await eventsOf('nftables'), [starting])
})

t.test('the ipvs mode is deprecated, in kube-proxy’s words', async (t) => {
  t.strictSame(await eventsOf('ipvs'), [
    starting,
    {
      ...{ type: 'Warning', subject, reason: 'IPVSDeprecation', action: 'StartKubeProxy' },
      note: "The ipvs proxier is now deprecated and may be removed in a future release. Please use 'nftables' instead.",
    },
  ])
})
