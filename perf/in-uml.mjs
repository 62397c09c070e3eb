/**
 * Runs a scenario on a kernel of its own, Debian's user-mode Linux, where root may do what it may not here: raise
 * the limit of open files, say. Everything is several times slower in there: for sizes, not for rates.
 */
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compileFixture } from './compile-fixture.mjs'
import { ROOT } from './place.mjs'

const TIMEOUT_MS = 290_000
const MEMORY_MIB = 6144
const OPEN_FILES = 250_000

/** @param {readonly string[]} args of perf/run.mjs @returns {Promise<number>} exit status */
export async function runInUml(args) {
  const folder = mkdtempSync(join(tmpdir(), 'kube-sluice-perf-'))
  try {
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
    symlinkSync(join(ROOT, 'test/fixtures/uml'), join(folder, 'uml'))
    const { skipUml, runCommandInUml } = await import(compileFixture('uml', folder))
    if (skipUml !== false) {
      console.error(`perf: ${skipUml}`)
      return 1
    }
    const raised = ['sh', '-c', `ulimit -n ${OPEN_FILES} && exec "$@"`, 'sh']
    const command = [...raised, process.execPath, join(ROOT, 'perf/run.mjs'), ...args]
    const limits = { timeoutMs: TIMEOUT_MS, memoryMib: MEMORY_MIB }
    process.stdout.write(await runCommandInUml(command, limits))
    return 0
  } catch (error) {
    console.error(`perf: in user-mode Linux: ${error.message}`)
    return 1
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
