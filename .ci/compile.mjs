// Compiles src into dist, incrementally, makes the program executable, and removes what an older
// build left there, so that a file that is gone from src cannot be imported from dist by mistake.
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, readdirSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { compareBuild } from './decide.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const source = join(root, 'src')
const output = join(root, 'dist')
/** Inside dist, so that removing dist means a full build. */
const buildInfo = join(output, '.tsbuildinfo')
const program = join(output, 'cli', 'main.js')

const { stale, missing } = compareBuild(filesIn(source), filesIn(output))
for (const path of stale) rmSync(join(output, path), { force: true })
if (missing) rmSync(buildInfo, { force: true })

const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc')
const result = spawnSync(
  process.execPath,
  [tsc, '-p', 'tsconfig.json', '--incremental', '--tsBuildInfoFile', buildInfo],
  { cwd: root, stdio: 'inherit' },
)
if (result.status === 0) chmodSync(program, 0o755)
process.exit(result.status ?? 1)

function filesIn(folder) {
  return existsSync(folder) ? readdirSync(folder, { recursive: true }) : []
}
