// Compiles native/build/kube-sluice.node with cc and the headers of node-api-headers: no node-gyp,
// no Python, nothing downloaded. Does nothing when the output is newer than every source,
// unless --force is given.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, relative } from 'node:path'

const native = import.meta.dirname
const output = join(native, 'build', 'kube-sluice.node')
const folders = ['core', 'binding'].map((folder) => join(native, folder))
const files = folders.flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)))
const sources = files.filter((file) => file.endsWith('.c')).sort()

const flags = [
  '-std=c11 -O2 -g -fPIC -shared -pthread -fvisibility=hidden -fstack-protector-strong',
  '-Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes',
  '-Wl,-z,relro,-z,now -DNAPI_VERSION=8',
]
  .join(' ')
  .split(' ')
if (process.env.CI === 'true') flags.push('-Werror')

if (!process.argv.includes('--force') && isUpToDate()) process.exit(0)
const compiler = process.env.CC ?? 'cc'
const temporary = `${output}.${process.pid}`
mkdirSync(join(native, 'build'), { recursive: true })
const result = spawnSync(
  compiler,
  [...flags, '-isystem', headersFolder(), '-o', temporary, ...sources, '-lmnl'],
  { stdio: 'inherit' },
)
if (result.error) {
  fail(`no C compiler: ${compiler} cannot be run; type: apt-get install -y build-essential`)
}
if (result.status !== 0) {
  rmSync(temporary, { force: true })
  fail(
    `${compiler} failed (exit ${result.status ?? result.signal}); its messages are above; if it misses libmnl, type: apt-get install -y libmnl-dev`,
  )
}
// Renamed into place: a process that has the old one loaded keeps it, two builds at once are fine.
renameSync(temporary, output)
console.error(`native: built ${relative(process.cwd(), output)}`)

function isUpToDate() {
  if (!existsSync(output)) return false
  const builtAt = statSync(output).mtimeMs
  return [...files, import.meta.filename].every((file) => statSync(file).mtimeMs < builtAt)
}

function headersFolder() {
  try {
    return createRequire(import.meta.url)('node-api-headers').include_dir
  } catch {
    return fail('the Node-API headers are missing; type: npm install node-api-headers')
  }
}

function fail(message) {
  console.error(`native: ${message}`)
  process.exit(1)
}
