import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { watchFile } from '../../src/config/watch-file.js'

function watched(t: Test, file: string, text: string) {
  const seen: string[] = []
  const waiting: (() => void)[] = []
  const note = (what: string) => {
    seen.push(what)
    waiting.splice(0).forEach((wake) => {
      wake()
    })
  }
  // What must notice is the watch: the poll is out of reach.
  const options = { file, settleMs: 10, pollMs: 600_000 }
  const stop = watchFile(text, {
    ...options,
    onChange: note,
    onUnreadable: (reason) => {
      note(`unreadable: ${reason}`)
    },
  })
  t.teardown(stop)
  const until = async (count: number) => {
    const deadline = setTimeout(() => {
      note('nothing within 10 s')
    }, 10_000)
    while (seen.length < count) await new Promise<void>((resolve) => waiting.push(resolve))
    clearTimeout(deadline)
    return seen
  }
  return { until, seen }
}

function folder(t: Test): string {
  const made = mkdtempSync(join(tmpdir(), 'kube-sluice-test-'))
  t.teardown(() => {
    rmSync(made, { recursive: true })
  })
  return made
}

t.test('a write and a rename are noticed, the same text is not', async (t) => {
  const file = join(folder(t), 'config.yaml')
  writeFileSync(file, 'a')
  const { until } = watched(t, file, 'a')
  writeFileSync(file, 'b')
  t.strictSame(await until(1), ['b'])
  writeFileSync(file, 'b')
  writeFileSync(`${file}.new`, 'c')
  renameSync(`${file}.new`, file)
  t.strictSame(await until(2), ['b', 'c'])
})

t.test('a ConfigMap that is mounted is a link that is swapped', async (t) => {
  const dir = folder(t)
  const file = join(dir, 'config.yaml')
  const write = (version: string) => {
    writeFileSync(join(dir, `..${version}`), version)
    symlinkSync(`..${version}`, join(dir, '..tmp'))
    renameSync(join(dir, '..tmp'), join(dir, '..data'))
  }
  write('one')
  symlinkSync('..data', file)
  const { until } = watched(t, file, 'one')
  write('two')
  t.strictSame(await until(1), ['two'])
})

t.test('a file that has gone is told of once, and taken up again when it is back', async (t) => {
  const file = join(folder(t), 'config.yaml')
  writeFileSync(file, 'a')
  const { until } = watched(t, file, 'a')
  rmSync(file)
  t.match(await until(1), [/^unreadable: ENOENT/])
  writeFileSync(file, 'b')
  t.match(await until(2), [/^unreadable/, 'b'])
})
