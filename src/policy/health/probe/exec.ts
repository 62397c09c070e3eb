/**
 * exec: a program of the folder of --health-check-exec-dir, with the endpoint's address and port as its
 * arguments. Exit status 0 is healthy; the first line that it writes is the reason.
 *
 * Bound: MAX_OUTPUT_BYTES of output; the program is killed when the probe is given up.
 */
import { spawn } from 'node:child_process'
import { messageOf } from '../../../lib/errors.js'
import { healthy, unhealthy, type ProbeResult, type StartProbe } from './probe.js'

const MAX_OUTPUT_BYTES = 4096

export const startExecProbe: StartProbe = ({ ip, port, check }, done) => {
  const child = spawn(check.command ?? '', [ip, String(port)], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], ENDPOINT_IP: ip, ENDPOINT_PORT: String(port) },
  })
  let output = ''
  let isOver = false
  const end = (result: ProbeResult): void => {
    if (isOver) return
    isOver = true
    done(result)
  }
  const listen = (piece: Buffer): void => {
    if (output.length < MAX_OUTPUT_BYTES) output += piece.toString().slice(0, MAX_OUTPUT_BYTES)
  }
  child.stdout.on('data', listen)
  child.stderr.on('data', listen)
  child.on('error', (error) => {
    end(unhealthy(messageOf(error)))
  })
  child.on('close', (code, signal) => {
    const line = output.trim().split('\n', 1)[0]?.slice(0, 200) ?? ''
    const text = line === '' ? '' : `: ${line}`
    if (code === 0) end(healthy(line === '' ? 'exit status 0' : line))
    else
      end(
        unhealthy(`${code === null ? `ended by ${signal ?? '?'}` : `exit status ${code}`}${text}`),
      )
  })
  return {
    cancel: () => {
      isOver = true
      child.kill('SIGKILL')
      return 'end of the program'
    },
  }
}
