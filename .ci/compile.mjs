// Compiles src into dist, incrementally, makes the program executable, and removes what an older
// build left there, so that a file that is gone from src cannot be imported from dist by mistake.
import { spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, existsSync, readdirSync, rmSync } from 'node:fs'
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
if (missing) for (const info of [buildInfo, `${buildInfo}-page`]) rmSync(info, { force: true })

const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc')
compile('tsconfig.json', buildInfo)
compile('tsconfig.page.json', `${buildInfo}-page`)
chmodSync(program, 0o755)
// What is not compiled: the page's markup and style.
for (const path of filesIn(source).filter((path) => /\.(html|css|svg)$/.test(path))) {
  copyFileSync(join(source, path), join(output, path))
}

/** Ends this process when it fails. */
function compile(project, info) {
  const words = [tsc, '-p', project, '--incremental', '--tsBuildInfoFile', info]
  const { status } = spawnSync(process.execPath, words, { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}

function filesIn(folder) {
  return existsSync(folder) ? readdirSync(folder, { recursive: true }) : []
}
