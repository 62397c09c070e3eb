/** Builds and runs the C tests of native/test, one a core module, under sanitizers. */
import { spawnSync } from 'node:child_process'
import { readdirSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import t from 'tap'

const native = new URL('../../native/', import.meta.url).pathname
const compiler = process.env['CC'] ?? 'cc'
const FLAGS = [
  '-std=c11',
  '-pthread',
  '-g',
  '-O1',
  '-Wall',
  '-Wextra',
  '-Werror',
  '-Wconversion',
  '-Wshadow',
]
const SANITIZERS = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all']
const TIMEOUT_MS = 60_000

function run(command: string, args: string[]): { status: number | null; text: string } {
  const { status, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
  })
  return { status, text: error?.message ?? stderr }
}

function reasonToSkip(folder: string): string | undefined {
  const source = join(folder, 'probe.c')
  const program = join(folder, 'probe')
  writeFileSync(source, 'int main(void) { return 0; }\n')
  const built = run(compiler, [...SANITIZERS, '-o', program, source])
  const result = built.status === 0 ? run(program, []) : built
  if (result.status === 0) return undefined
  return `${compiler} has no working sanitizers: ${result.text.split('\n', 1)[0] ?? ''}`
}

const folder = t.testdir()
const skip = reasonToSkip(folder) ?? false
const modules = readdirSync(join(native, 'test'))
  .filter((name) => name.endsWith('.c'))
  .map((name) => basename(name, '.c'))
const core = readdirSync(join(native, 'core'))
  .filter((name) => name.endsWith('.c'))
  .map((name) => join(native, 'core', name))

t.ok(modules.length > 0)
for (const module of modules) {
  t.test(`${module}.c under AddressSanitizer`, { skip }, async (t) => {
    const program = join(folder, module)
    const sources = [join(native, 'test', `${module}.c`), ...core]
    const built = run(compiler, [...FLAGS, ...SANITIZERS, '-o', program, ...sources, '-lmnl'])
    t.equal(built.status, 0, built.text)
    const result = run(program, [])
    t.equal(result.status, 0, result.text)
  })
}

t.test('a build without a compiler says what to type', async (t) => {
  const { status, stderr } = spawnSync(process.execPath, [join(native, 'build.mjs'), '--force'], {
    encoding: 'utf8',
    env: { ...process.env, CC: '/nowhere/cc' },
  })
  t.equal(status, 1)
  t.match(stderr, /^native: no C compiler.*apt-get install -y build-essential\n$/)
})
