/** The priority of the steering thread. */
import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'

import { reach, serve } from '../fixtures/reach.js'
import { rootOnly, service, slice, startCluster } from '../fixtures/test-cluster.js'

/** Nice values of the threads of a process (proc_pid_stat(5), field 19). */
function niceOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).map((thread) => {
    const text = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8')
    return Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[16])
  })
}

t.test('one thread has the nice value, the others keep theirs', { skip: rootOnly }, async (t) => {
  const cluster = await startCluster(1)
  t.teardown(() => cluster.close())
  await serve(cluster.pods[0]!, 'pod-1', cluster.podIp(1), 8080)
  cluster.write([service('one', { clusterIP: '10.96.0.10' }), slice('one', [cluster.podIp(1)])])
  const proxy = await cluster.startProxy('--proxy-mode', 'nfqueue', '--nfqueue-nice', '-7')
  t.teardown(() => proxy.stop('SIGKILL'))
  const own = niceOf(process.pid)[0]
  const nice = niceOf(proxy.child.pid!)
  t.equal(nice.filter((value) => value === -7).length, 1, nice.join())
  t.equal(nice[0], own, 'the main thread')
  t.match(await reach(cluster.client, { host: '10.96.0.10' }), /^pod-1/)
})
