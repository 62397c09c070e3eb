import t from 'tap'
import { accessTo, clientOf, startApiServer, startSource } from '../../fixtures/api-access.js'
import type { ApiServer, SeenRequest } from '../../fixtures/api-server.js'
import { endpointSlice, node, service } from '../../fixtures/objects.js'

/** A Service `sN` with its slice; cluster IPs 10.96.0.N. */
function putPair(server: ApiServer, n: number, endpoint = `10.244.0.${n}`): void {
  server.put(service({ name: `s${n}`, spec: { clusterIP: `10.96.0.${n}` } }))
  server.put(endpointSlice({ name: `s${n}-a`, serviceName: `s${n}`, endpoints: [endpoint] }))
}

function fill(server: ApiServer, count = 7): void {
  server.put(node())
  for (let n = 1; n <= count; n++) putPair(server, n)
}

const isList = ({ isWatch, path }: SeenRequest) => !isWatch && path.endsWith('s')
const watchesSlices = ({ isWatch, path }: SeenRequest) => isWatch && path.endsWith('endpointslices')
const sliceWatches = (server: ApiServer) => server.requests.filter(watchesSlices)

for (const watchList of [true, false]) {
  const how = watchList ? 'as a stream' : 'in pages'
  t.test(`the first list comes ${how}, then changes follow`, async (t) => {
    const { server, url } = await startApiServer(t, { watchList })
    fill(server)
    const { recorder } = await startSource(t, accessTo(url))
    await recorder.until('synced', () => recorder.isSynced)
    t.equal(recorder.state.size, 15)
    const lists = server.requests.filter(isList)
    if (watchList) t.strictSame(lists, [], 'no list was needed')
    else {
      const pages = lists.filter(({ path }) => path.endsWith('services'))
      t.equal(pages.length, 3, 'seven Services, three a page')
      t.ok(pages.every(({ query }) => query.get('limit') === '3'))
      t.strictSame(
        pages.map(({ query }) => query.get('resourceVersion')),
        ['0', null, null],
        'the first page may come from a cache',
      )
    }
    await server.until('three watches', () => server.watchCount === 3)
    putPair(server, 8)
    server.remove('Service', 'demo/s1')
    await recorder.until('changes', () => recorder.state.has('EndpointSlice demo/s8-a'))
    await recorder.until('deletion', () => !recorder.state.has('Service demo/s1'))
    t.strictSame(recorder.warnings, [])
  })
}

t.test('it asks for what kube-proxy asks for', async (t) => {
  const { server, url } = await startApiServer(t)
  fill(server, 1)
  server.put(service({ name: 'headless', spec: { clusterIP: 'None' } }))
  const labels = { 'service.kubernetes.io/service-proxy-name': 'other' }
  server.put(service({ name: 'other', metadata: { labels } }))
  server.put(endpointSlice({ name: 'h', labels: { 'service.kubernetes.io/headless': '' } }))
  server.put(node({ name: 'node-2' }))
  const { recorder } = await startSource(t, accessTo(url))
  await recorder.until('synced', () => recorder.isSynced)
  t.strictSame([...recorder.state.keys()].sort(), [
    'EndpointSlice demo/s1-a',
    'Node node-1',
    'Service demo/s1',
  ])
  const selectors = server.requests.map(({ path, query }) => [
    path,
    query.get('labelSelector'),
    query.get('fieldSelector'),
  ])
  t.strictSame(selectors.sort(), [
    ['/api/v1/nodes', null, 'metadata.name=node-1'],
    ['/api/v1/services', '!service.kubernetes.io/service-proxy-name', 'spec.clusterIP!=None'],
    ['/apis/discovery.k8s.io/v1/endpointslices', '!service.kubernetes.io/headless', null],
  ])
  t.ok(server.requests.every(({ query }) => query.get('allowWatchBookmarks') === 'true'))
  server.put(service({ name: 's1', metadata: { labels } }))
  await recorder.until(
    'what leaves the selector goes',
    () => !recorder.state.has('Service demo/s1'),
  )
})

t.test('nothing is synced before all three kinds are listed', async (t) => {
  const { server, url } = await startApiServer(t)
  fill(server)
  server.misbehave({ do: 'status', status: 503 }, watchesSlices, 3)
  const { recorder } = await startSource(t, accessTo(url))
  const gone = () => sliceWatches(server).length === 3
  await server.until('slices were asked for three times', gone)
  t.equal(recorder.isSynced, false)
  await recorder.until('synced', () => recorder.isSynced)
  t.equal(recorder.state.size, 15)
})

t.test('a Node that is not there is waited for, with a bound', async (t) => {
  const { server, url } = await startApiServer(t)
  putPair(server, 1)
  const { recorder } = await startSource(t, accessTo(url), { nodeWaitMs: 200 })
  await recorder.until('synced', () => recorder.isSynced)
  t.match(recorder.warnings, [/^Node node-1 is not known after 200ms/])
  server.put(node())
  await recorder.until('it is taken in when it comes', () => recorder.state.has('Node node-1'))
  server.remove('Node', 'node-1')
  await recorder.until('and its end', () => !recorder.state.has('Node node-1'))
})

t.test('pod CIDRs that are needed are waited for', async (t) => {
  const { server, url } = await startApiServer(t)
  putPair(server, 1)
  server.put(node())
  const { recorder } = await startSource(t, accessTo(url), { podCidrWaitMs: 30_000 })
  await server.until('three watches', () => server.watchCount === 3)
  await recorder.until('the Node is in', () => recorder.state.has('Node node-1'))
  t.equal(recorder.isSynced, false)
  server.put(node({ podCidrs: ['10.244.1.0/24'] }))
  await recorder.until('synced', () => recorder.isSynced)
})

t.test('pod CIDRs that never come end it', async (t) => {
  const { server, url } = await startApiServer(t)
  putPair(server, 1)
  const { recorder } = await startSource(t, accessTo(url), { podCidrWaitMs: 100 })
  await recorder.until('failure', () => recorder.failure !== undefined)
  t.match(recorder.failure?.message, /no spec.podCIDRs within 100ms/)
  t.equal(recorder.isSynced, false)
})

t.test('a watch that ends in time is taken up where it was', async (t) => {
  const { server, url } = await startApiServer(t, { watchTimeoutMs: 1_200 })
  fill(server, 2)
  const { recorder, source } = await startSource(t, accessTo(url))
  await recorder.until('synced', () => recorder.isSynced)
  await server.until('the next watch', () => sliceWatches(server).length >= 2)
  const [, next] = sliceWatches(server)
  t.match(next?.query.get('resourceVersion'), /^\d+$/)
  putPair(server, 3)
  await recorder.until('changes', () => recorder.state.has('EndpointSlice demo/s3-a'))
  t.equal(source.counts.get('EndpointSlice')?.lists, 1, 'listed once')
  t.strictSame(recorder.warnings, [])
})

t.test('bookmarks move on what a quiet watch resumes from', async (t) => {
  const { server, url } = await startApiServer(t, { bookmarkMs: 50 })
  fill(server, 1)
  const { recorder, source } = await startSource(t, accessTo(url))
  await recorder.until('synced', () => recorder.isSynced)
  for (let n = 2; n < 20; n++) server.put(service({ name: `s${n}` }))
  const { version } = server
  const events = source.counts.get('Node')?.events ?? 0
  const nodes = () => source.counts.get('Node')?.events ?? 0
  await server.until('two bookmarks of the Node', () => nodes() >= events + 2)
  server.compact()
  server.resetConnections()
  const resumed = ({ isWatch, path, query }: SeenRequest) =>
    isWatch && path.endsWith('nodes') && Number(query.get('resourceVersion')) >= version
  await server.until('the Node is watched from there', () => server.requests.some(resumed))
  t.equal(source.counts.get('Node')?.lists, 1)
})

t.test('a server that is killed and comes back with changes', async (t) => {
  const under = await startApiServer(t)
  fill(under.server)
  const { recorder } = await startSource(t, accessTo(under.url))
  await recorder.until('synced', () => recorder.isSynced)
  await under.server.close()
  await recorder.until('it says so', () => recorder.warnings.length >= 3)
  t.equal(recorder.state.size, 15, 'the last state stays')
  recorder.changes.length = 0
  await under.restart((next) => {
    next.remove('Service', 'demo/s7')
    putPair(next, 9)
  })
  await recorder.until('the new slice', () => recorder.state.has('EndpointSlice demo/s9-a'))
  await recorder.until('the new Service', () => recorder.state.has('Service demo/s9'))
  t.equal(recorder.state.has('Service demo/s7'), false)
  t.equal(recorder.changes.length, 3, 'and nothing of what is the same')
  t.match(recorder.warnings.at(-1), /is watched again/)
})

t.test('a relist reports differences only', async (t) => {
  const { server, url } = await startApiServer(t)
  fill(server)
  const { recorder, source } = await startSource(t, accessTo(url))
  await recorder.until('synced', () => recorder.isSynced)
  recorder.changes.length = 0
  server.misbehave({ do: 'hang' }, ({ isWatch }) => isWatch, 3)
  server.resetConnections()
  await server.until('the watches hang', () => server.requests.length >= 6)
  putPair(server, 8)
  server.remove('EndpointSlice', 'demo/s2-a')
  server.compact()
  server.resetConnections()
  const lists = () => source.counts.get('EndpointSlice')?.lists ?? 0
  await server.until('listed again after 410', () => lists() === 2)
  t.equal(source.counts.get('EndpointSlice')?.expired, 1)
  await recorder.until('deletion', () => !recorder.state.has('EndpointSlice demo/s2-a'))
  await recorder.until('Service', () => recorder.state.has('Service demo/s8'))
  t.strictSame(
    recorder.changes
      .map((change) => (change.type === 'apply' ? change.current.kind : change.type))
      .sort(),
    ['EndpointSlice', 'Service', 'delete'],
    'and of what is the same, nothing',
  )
})

t.test('versions that run backwards make it list again, and take what is there', async (t) => {
  const under = await startApiServer(t, { startVersion: 5000 })
  fill(under.server, 2)
  const { recorder } = await startSource(t, accessTo(under.url))
  await recorder.until('synced', () => recorder.isSynced)
  const restored = (next: ApiServer): void => {
    next.put(node())
    putPair(next, 1, '10.244.9.9')
  }
  await under.restart(restored, { startVersion: 100, objects: [] })
  await recorder.until('the restored state', () => recorder.state.size === 3)
  t.match(recorder.state.get('EndpointSlice demo/s1-a'), {
    endpoints: [{ addresses: ['10.244.9.9'] }],
  })
})

t.test('an older event within a watch is not believed', async (t) => {
  const { server, url } = await startApiServer(t, { startVersion: 100 })
  fill(server, 1)
  const { recorder, source } = await startSource(t, accessTo(url))
  await recorder.until('synced', () => recorder.isSynced)
  const old = endpointSlice({ name: 's1-a', serviceName: 's1', endpoints: ['10.244.7.7'] })
  Object.assign(old.metadata!, { resourceVersion: '5' })
  server.sendRaw('EndpointSlice', `${JSON.stringify({ type: 'MODIFIED', object: old })}\n`)
  const lists = () => source.counts.get('EndpointSlice')?.lists ?? 0
  await server.until('listed again', () => lists() === 2)
  t.match(recorder.state.get('EndpointSlice demo/s1-a'), {
    endpoints: [{ addresses: ['10.244.0.1'] }],
  })
})

t.test('an event that comes twice counts once', async (t) => {
  const { server, url } = await startApiServer(t)
  fill(server, 1)
  const { recorder } = await startSource(t, accessTo(url))
  await recorder.until('synced', () => recorder.isSynced)
  await server.until('three watches', () => server.watchCount === 3)
  recorder.changes.length = 0
  putPair(server, 2)
  const object = server.dump().find(({ metadata }) => metadata.name === 's2')
  for (let i = 0; i < 3; i++) {
    server.sendRaw('Service', `${JSON.stringify({ type: 'ADDED', object })}\n`)
  }
  server.remove('Service', 'demo/s2')
  server.sendRaw('Service', `${JSON.stringify({ type: 'DELETED', object })}\n`)
  putPair(server, 3)
  await recorder.until('later ones', () => recorder.state.has('Service demo/s3'))
  const services = recorder.changes.filter(
    (change) => (change.type === 'apply' ? change.current.kind : change.kind) === 'Service',
  )
  t.strictSame(
    services.map(({ type, key }) => `${type} ${key}`),
    ['apply demo/s2', 'delete demo/s2', 'apply demo/s3'],
  )
  t.strictSame(recorder.warnings, [])
})

const disturbances: readonly [string, (server: ApiServer) => void][] = [
  [
    'connections that are reset',
    (server) => {
      server.resetConnections()
    },
  ],
  [
    'half a line',
    (server) => {
      server.sendRaw('Service', '{"type":"MODI')
      server.resetConnections()
    },
  ],
  [
    'a line that is no JSON',
    (server) => {
      server.sendRaw('Service', '<html>\n')
    },
  ],
  [
    'an answer that is cut',
    (server) => {
      server.misbehave({ do: 'cut', bytes: 100 }, ({ isWatch }) => isWatch, 2)
      server.resetConnections()
    },
  ],
  [
    'a gateway that answers for the server',
    (server) => {
      const body = '<html>Bad gateway</html>'
      server.misbehave({ do: 'status', status: 502, body }, () => true, 5)
      server.resetConnections()
    },
  ],
]
for (const [what, disturb] of disturbances) {
  t.test(`${what}: the last state stays, and the watch resumes`, async (t) => {
    const { server, url } = await startApiServer(t)
    fill(server)
    const { recorder, source } = await startSource(t, accessTo(url))
    await recorder.until('synced', () => recorder.isSynced)
    await server.until('three watches', () => server.watchCount === 3)
    recorder.changes.length = 0
    disturb(server)
    await recorder.until('it says so', () => recorder.warnings.length > 0)
    putPair(server, 8)
    await recorder.until('the next change', () => recorder.state.has('Service demo/s8'))
    await recorder.until('the next change', () => recorder.state.has('EndpointSlice demo/s8-a'))
    t.equal(recorder.changes.length, 2)
    t.equal(source.counts.get('Service')?.lists, 1, 'without a list')
  })
}

t.test('a first list that breaks is asked for again', async (t) => {
  const { server, url } = await startApiServer(t)
  fill(server)
  server.misbehave({ do: 'cut', bytes: 900 }, watchesSlices)
  server.misbehave({ do: 'reset' }, ({ path }) => path.endsWith('services'))
  const { recorder } = await startSource(t, accessTo(url))
  await recorder.until('synced', () => recorder.isSynced)
  t.equal(recorder.state.size, 15)
})

t.test('pages that expire are asked for from the first one on', async (t) => {
  const { server, url } = await startApiServer(t, { watchList: false })
  fill(server)
  const isLater = ({ query }: SeenRequest) => query.has('continue')
  server.misbehave({ do: 'status', status: 410, body: '{"reason":"Expired","code":410}' }, isLater)
  const { recorder } = await startSource(t, accessTo(url))
  await recorder.until('synced', () => recorder.isSynced)
  t.equal(recorder.state.size, 15)
  const again = server.requests.filter(
    ({ isWatch, query }) => !isWatch && !query.has('continue') && !query.has('resourceVersion'),
  )
  t.ok(again.length >= 1, 'the latest, this time')
})

t.test('a stream that never says that all has come is given up for pages', async (t) => {
  const { server, url } = await startApiServer(t)
  fill(server, 2)
  server.misbehave({ do: 'cut', bytes: 400 }, watchesSlices, 2)
  const { recorder } = await startSource(t, accessTo(url))
  await recorder.until('synced', () => recorder.isSynced)
  t.ok(server.requests.some((one) => isList(one) && one.path.endsWith('endpointslices')))
})

t.test('429 waits as long as it is told to', async (t) => {
  const { server, url } = await startApiServer(t)
  fill(server, 1)
  const isNodes = ({ path }: SeenRequest) => path.endsWith('nodes')
  server.misbehave({ do: 'status', status: 429, headers: { 'Retry-After': '1' } }, isNodes)
  const startedMs = performance.now()
  const { recorder, source } = await startSource(t, accessTo(url))
  await recorder.until('synced', () => recorder.isSynced)
  t.match(source.counts.get('Node'), { failures: 1, throttled: 1, expired: 0 })
  t.ok(performance.now() - startedMs >= 1000)
  t.match(recorder.warnings[0], /429/)
})

t.test('a server that hangs is given up', async (t) => {
  const { server, url } = await startApiServer(t, { bookmarkMs: 0 })
  fill(server, 1)
  const { recorder, source } = await startSource(t, accessTo(url), { timing: { idleMs: 300 } })
  await recorder.until('synced', () => recorder.isSynced)
  await server.until('watched again', () => sliceWatches(server).length >= 2)
  t.match(recorder.warnings[0], /nothing came for 0.3 s/)
  t.equal(source.counts.get('EndpointSlice')?.lists, 1)
})

t.test('a server that ends every watch at once is not asked without a pause', async (t) => {
  const { server, url } = await startApiServer(t, { watchTimeoutMs: 1 })
  fill(server, 1)
  const { recorder } = await startSource(t, accessTo(url), { timing: { backoffMaxMs: 100 } })
  await recorder.until('synced', () => recorder.isSynced)
  const before = sliceWatches(server).length
  const startedMs = performance.now()
  await server.until('ten watches', () => sliceWatches(server).length >= before + 10)
  t.ok(performance.now() - startedMs > 500)
})

t.test('what a server sends is never believed blindly', async (t) => {
  const { server, url } = await startApiServer(t)
  fill(server, 1)
  const { recorder } = await startSource(t, accessTo(url))
  await recorder.until('synced', () => recorder.isSynced)
  await server.until('three watches', () => server.watchCount === 3)
  const odd = [
    { type: 'MODIFIED', object: null },
    { type: 'MODIFIED', object: { metadata: { name: 7 } } },
    { type: 'DELETED', object: {} },
    { type: 'BOOKMARK', object: { metadata: null } },
    { type: 'PARTIAL', object: {} },
  ]
  for (const event of odd) server.sendRaw('Service', `${JSON.stringify(event)}\n\n`)
  putPair(server, 2)
  await recorder.until('later ones', () => recorder.state.has('Service demo/s2'))
  t.strictSame(recorder.warnings, [])
})

t.test('close ends watches, and nothing is reported after it', async (t) => {
  const { server, url } = await startApiServer(t)
  fill(server, 1)
  const { recorder, source } = await startSource(t, accessTo(url))
  await recorder.until('synced', () => recorder.isSynced)
  await source.close()
  await source.close()
  await server.until('no watch is left', () => server.watchCount === 0)
})

t.test('what is not there is an error that says so', async (t) => {
  const { server, url } = await startApiServer(t)
  const client = clientOf(accessTo(url))
  t.teardown(() => {
    client.close()
  })
  t.equal(client.server, new URL(url).host)
  t.rejects(client.call({ path: '/nothing', signal: AbortSignal.timeout(10_000) }), {
    message: /GET \/nothing: 404 NotFound/,
  })
  await server.until('asked', () => server.requests.length === 1)
})
