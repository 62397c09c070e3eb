/** The load that contenders get, and what their own processes spend on it. */
import { readFileSync } from 'node:fs'
import { output } from './place.mjs'

export const CONCURRENCY = 64

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

/** iperf3 with four streams. @returns {Promise<{ bytes: number, gigabitsPerSecond: number }>} */
export async function moveBytes(place, netns, [host, port], seconds) {
  const text = await output(place, netns, [
    ...['iperf3', '-c', host, '-p', String(port), '-P4', `-t${seconds}`, '-J'],
  ])
  const { bytes, bits_per_second: bits } = JSON.parse(text).end.sum_received
  return { bytes, gigabitsPerSecond: bits / 1e9 }
}

/** User and system time of processes and their children, from /proc/PID/stat (ticks of 10 ms). */
export function cpuSeconds(pids) {
  let [user, system] = [0, 0]
  for (const pid of pids) {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
    const all = [pid, ...children.split(' ').filter(Boolean)]
    for (const one of all) {
      const fields = readFileSync(`/proc/${one}/stat`, 'utf8').split(') ')[1].split(' ')
      user += Number(fields[11])
      system += Number(fields[12])
    }
  }
  return { user: user / 100, system: system / 100, all: (user + system) / 100 }
}
