/**
 * Several owners of rules look for their own in the same listing: what a tool has printed is good until
 * something is changed.
 */
import type { CommandResult, RunCommand } from './command.js'

/** Words of runs that only print: `iptables-save`, `ipset list`, `ip rule show`, `iptables -V`. */
const LOOKS = new Set(['list', 'show', 'save', '-S', '-V'])

/** A RunCommand that answers the same look from memory; any other run makes it forget all. */
export function rememberLooks(run: RunCommand): RunCommand {
  const looks = new Map<string, Promise<CommandResult>>()
  return async (tool, args, input) => {
    const isLook =
      input === undefined && (tool.endsWith('-save') || args.some((word) => LOOKS.has(word)))
    if (!isLook) {
      looks.clear()
      try {
        return await run(tool, args, input)
      } finally {
        // What was looked at meanwhile may be what was before.
        looks.clear()
      }
    }
    const key = [tool, ...args].join(' ')
    const known = looks.get(key) ?? run(tool, args)
    looks.set(key, known)
    return known
  }
}
