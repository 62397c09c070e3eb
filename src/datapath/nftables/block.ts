/** Pieces of nft text. */
import type { IpFamily } from '../../lib/ip-address.js'

/** `chain NAME { ... }`, `map NAME { ... }`, with what an operator reads beside it. */
export function block(head: string, comment: string, lines: readonly string[]): string[] {
  return [`  ${head} {`, `    comment "${comment}"`, ...lines.map((line) => `    ${line}`), '  }']
}

export function ipOf(family: IpFamily): string {
  return family === 'IPv4' ? 'ip' : 'ip6'
}
