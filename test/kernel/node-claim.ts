import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { claimNode, type NodeClaim } from '../../src/kernel/node-claim.js'
import { inNamespace } from '../fixtures/in-namespace.js'

const MODULE = fileURLToPath(new URL('../../dist/kernel/node-claim.js', import.meta.url))
const HOLD = `const { claimNode } = await import(${JSON.stringify(MODULE)})
await claimNode({ waitMs: 0, signal: new AbortController().signal, onWait() {} })
console.log('held')
setInterval(() => {}, 1000)`

if (inNamespace(t, import.meta.url)) {
  t.test('a second one is told who has the node, and gets it', async (t) => {
    const first = await claim(0, () => t.fail('nobody to wait for'))
    t.teardown(() => first?.close())
    const owners: string[] = []
    await t.rejects(
      claim(0, (owner) => owners.push(owner)),
      { code: 'ERR_LISTEN', message: new RegExp(`process ${process.pid}\\b.*stop it first`) },
    )
    let isWaiting: (owner: string) => void = () => undefined
    const waits = new Promise<string>((resolve) => (isWaiting = resolve))
    const second = claim(10_000, isWaiting)
    owners.push(await waits)
    await first?.close()
    await (await second)?.close()
    t.same(owners, [String(process.pid), String(process.pid)])
  })

  t.test('a process that is killed leaves no claim behind', async (t) => {
    const holder = await hold()
    t.teardown(() => holder.kill('SIGKILL'))
    const waited: string[] = []
    const second = claim(10_000, (owner) => waited.push(owner))
    holder.kill('SIGKILL')
    await (await second)?.close()
    t.ok(waited.length <= 1)
    t.ok(waited.every((owner) => [String(holder.pid), 'unknown'].includes(owner)))
  })

  t.test('one that is told to stop waits no longer', async (t) => {
    const first = await claim(0, () => undefined)
    t.teardown(() => first?.close())
    const stop = new AbortController()
    const second = await claim(
      60_000,
      () => {
        stop.abort()
      },
      stop.signal,
    )
    t.equal(second, undefined)
  })

  t.test('the claim alone does not keep a process going', async (t) => {
    const script = HOLD.replace(/setInterval.*/, '')
    const child = spawn(process.execPath, ['--input-type=module', '-e', script])
    const [code] = (await once(child, 'exit')) as [number]
    t.equal(code, 0)
  })
}

function claim(
  waitMs: number,
  onWait: (owner: string) => void,
  signal = new AbortController().signal,
): Promise<NodeClaim | undefined> {
  return claimNode({ waitMs, signal, onWait })
}

async function hold(): Promise<ChildProcess> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', HOLD], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child.stdout, 'data')
  return child
}
