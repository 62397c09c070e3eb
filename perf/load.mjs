/** The load that contenders get, and what their own processes spend on it. */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { output } from './place.mjs'

export const CONCURRENCY = 64
const BULK_ATTEMPTS = 4
const BULK_PAUSE_MS = 500

/**
 * wrk without keep-alive.
 * @returns {Promise<{ requests: number, perSecond: number }>} each request was a connection
 */
export async function openConnections(place, netns, [host, port], seconds) {
  const text = await output(place, netns, [
    ...['wrk', '-t1', `-c${CONCURRENCY}`, `-d${seconds}s`, '-H', 'Connection: close'],
    `http://${host}:${port}/`,
  ])
  const requests = Number(/(\d+) requests in/.exec(text)?.[1])
  const perSecond = Number(/Requests\/sec:\s+([\d.]+)/.exec(text)?.[1])
  const errors = /Socket errors: (.*)/.exec(text)?.[1]
  if (errors !== undefined) console.error(`  wrk to ${host}:${port}: ${errors}`)
  return { requests, perSecond }
}

/**
 * iperf3 with four streams; tried again when it fails, since its server takes one client at a time and
 * may not have noticed yet that the last one is gone.
 * @returns {Promise<{ bytes: number, gigabitsPerSecond: number }>}
 */
export async function moveBytes(place, netns, [host, port], seconds) {
  const command = ['iperf3', '-c', host, '-p', String(port), '-P4', `-t${seconds}`, '-J']
  let problem
  for (let attempt = 0; attempt < BULK_ATTEMPTS; attempt++) {
    const text = await output(place, netns, command).catch((error) => error.message)
    const received = sumReceived(text)
    if (received !== undefined) {
      return { bytes: received.bytes, gigabitsPerSecond: received.bits_per_second / 1e9 }
    }
    problem = text
    await sleep(BULK_PAUSE_MS)
  }
  throw new Error(`perf: iperf3 to ${host}:${port} fails: ${problem.slice(0, 300)}`)
}

function sumReceived(text) {
  try {
    return JSON.parse(text).end.sum_received
  } catch {
    return undefined // it failed, and said why in place of JSON
  }
}

/**
 * User and system time of processes and their children, also of those that have ended, from
 * /proc/PID/stat (utime, stime, cutime and cstime, in ticks of 10 ms).
 */
export function cpuSeconds(pids) {
  let [user, system] = [0, 0]
  for (const pid of pids) {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
    // Parents last: a child that ends meanwhile is in their cutime by then.
    for (const one of [...children.split(' ').filter(Boolean), String(pid)]) {
      const fields = statOf(one)
      if (fields === undefined) continue
      user += Number(fields[11]) + Number(fields[13])
      system += Number(fields[12]) + Number(fields[14])
    }
  }
  return { user: user / 100, system: system / 100, all: (user + system) / 100 }
}

/** What follows the name in /proc/PID/stat; undefined when the process has ended. */
function statOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'ESRCH') return undefined
    throw error
  }
}
