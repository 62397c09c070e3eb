import { readFileSync } from 'node:fs'

/** USER_HZ: what /proc counts CPU time in, on every architecture that Node runs on (proc(5)). */
const TICKS_PER_SECOND = 100

/**
 * CPU seconds, user and system, that the processes have used so far, all their threads included.
 * The kernel's own work for them in soft interrupts is charged to whoever runs at that moment.
 *
 * @param {readonly number[]} pids
 * @returns {number}
 */
export function cpuSeconds(pids) {
  let ticks = 0
  for (const pid of pids) {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The second field, the command in parentheses, may have spaces: count from behind it.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    ticks += Number(fields[11]) + Number(fields[12]) // utime and stime, fields 14 and 15
  }
  return ticks / TICKS_PER_SECOND
}
