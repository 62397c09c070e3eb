import { execFile } from 'node:child_process'

const OUTPUT_BYTES = 16 * 1024 * 1024

/**
 * Runs a program to its end and returns its standard output. Rejects with one line that has the
 * command and what it said; kills it after `timeoutMs` or when the signal aborts.
 *
 * @param {readonly [string, ...string[]]} command
 * @param {{ readonly timeoutMs: number, readonly signal?: AbortSignal }} options
 * @returns {Promise<string>}
 */
export function runCommand([program, ...args], { timeoutMs, signal }) {
  return new Promise((resolve, reject) => {
    const options = { timeout: timeoutMs, signal, maxBuffer: OUTPUT_BYTES, killSignal: 'SIGKILL' }
    const child = execFile(
      program,
      args,
      /** @type {import('node:child_process').ExecFileOptions} */ (options),
      (error, stdout, stderr) => {
        if (error === null) {
          resolve(String(stdout))
          return
        }
        const said = String(stderr).trim() || String(stdout).trim().slice(-400) || error.message
        const line = said.replaceAll(/\s*\n\s*/g, '; ')
        reject(new Error(`${[program, ...args].join(' ')}: ${line}`, { cause: error }))
      },
    )
    child.stdin?.end()
  })
}
