/** Who leads to whom in one table as `iptables-save` prints it, line by line. Pure. */
import { PORT_CHAIN_PATTERN } from './names.js'

export function chainsIn(lines: readonly string[]): string[] {
  return lines
    .filter((line) => line.startsWith(':'))
    .map((line) => line.slice(1, line.indexOf(' ')))
}

/** The chain that a line is a rule of, and the chain or target that it leads to, if any. */
export function jumpOf(line: string): {
  readonly chain: string
  readonly target: string | undefined
} {
  const [, chain = ''] = /^-A (\S+)/.exec(line) ?? []
  const [, target] = / -[jg] (\S+)/.exec(line) ?? []
  return { chain, target: chain === '' ? undefined : target }
}

/** These chains, and all that they lead to; not through those of `except`. */
export function reachableChains(
  lines: readonly string[],
  from: readonly string[],
  except: ReadonlySet<string> = new Set(),
): ReadonlySet<string> {
  const targets = new Map<string, string[]>()
  for (const line of lines) {
    const { chain, target } = jumpOf(line)
    if (target === undefined || except.has(chain)) continue
    const known = targets.get(chain)
    if (known === undefined) targets.set(chain, [target])
    else known.push(target)
  }
  const found = new Set(from)
  // A set that grows while it is walked is walked to its end.
  for (const chain of found) for (const target of targets.get(chain) ?? []) found.add(target)
  return found
}

/**
 * Chains of single Service ports that are not wanted and can be deleted in the restore that writes
 * the wanted ones anew: not those that a chain of somebody else leads to (our ipvs mode's, which goes
 * after the restore), as the kernel would refuse that, and with it the whole restore.
 */
export class StaleChains {
  readonly #wanted: ReadonlySet<string>
  /** What is said of chains that are wanted is not kept: there may be a million lines. */
  readonly #unwanted: string[] = []

  constructor(wanted: ReadonlySet<string>) {
    this.#wanted = wanted
  }

  /** A line of the table. */
  add(line: string): void {
    const name = line.startsWith('-A ')
      ? line.slice(3, line.indexOf(' ', 3))
      : line.startsWith(':') && line.slice(1, line.indexOf(' '))
    if (name !== false && !this.#wanted.has(name)) this.#unwanted.push(line)
  }

  /** Once all lines are there. */
  list(): readonly string[] {
    const chains = chainsIn(this.#unwanted)
    const others = chains.filter((name) => !PORT_CHAIN_PATTERN.test(name))
    const used = reachableChains(this.#unwanted, others, this.#wanted)
    return chains.filter((name) => PORT_CHAIN_PATTERN.test(name) && !used.has(name))
  }
}
