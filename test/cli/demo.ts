/** The demo as a stranger runs it. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { rootOnly } from '../fixtures/test-cluster.js'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

function start(seconds: number) {
  const child = spawn(process.execPath, [MAIN, 'demo', '--seconds', String(seconds)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const state = { text: '' }
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => (state.text += chunk.toString()))
  }
  return { child, state }
}

const leftOf = (pid: number | undefined) =>
  spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' })
    .stdout.split('\n')
    .filter((line) => line.startsWith(`ks-demo-${pid ?? '?'}-`))

t.test('endpoints die and come back, no client notices', { skip: rootOnly }, async (t) => {
  const { child, state } = start(12)
  t.teardown(() => child.kill('SIGTERM'))
  const [code] = (await once(child, 'close')) as [number]
  t.equal(code, 0, state.text)
  t.match(state.text, /SIGKILL to echo-2, http-2, dns-2/)
  t.match(state.text, /none failed/)
  for (const pod of ['echo', 'http', 'dns'].flatMap((name) =>
    [1, 2, 3].map((i) => `${name}-${i}`),
  )) {
    t.match(state.text, new RegExp(` ${pod} +10\\.244\\.\\S+ +[1-9]\\d* requests`))
  }
  t.strictSame(leftOf(child.pid), [])
})

t.test('Ctrl-C ends it and leaves nothing behind', { skip: rootOnly }, async (t) => {
  const { child, state } = start(60)
  t.teardown(() => child.kill('SIGKILL'))
  const deadline = Date.now() + 30_000
  while (!/requests [1-9]/.test(state.text) && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  child.kill('SIGINT')
  await once(child, 'close')
  t.match(state.text, /requests/)
  t.strictSame(leftOf(child.pid), [])
})
