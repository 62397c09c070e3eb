/** Holds what happened against what was to happen. Pure. */
import type { IpFamily } from '../../src/lib/ip-address.js'
import type { Expectation, Protocol, Source } from './packet-case.js'
import type { SuiteMode } from './modes.js'
import { NODE_ADDRESSES, SOURCES } from './place.js'

/** Names of those that the expectation wants to hear of. */
export function wantedNames(expectation: Expectation): readonly string[] {
  return expectation.kind === 'answered' ? Object.keys(expectation.by) : []
}

/** What a mode that hides clients makes of an expectation. */
export function adapted(expectation: Expectation, mode: SuiteMode): Expectation {
  if (expectation.kind !== 'answered' || mode.hidesClient === undefined) return expectation
  return {
    kind: 'answered',
    by: Object.fromEntries(
      Object.entries(expectation.by).map(([name, whom]) => [name, whom === 'any' ? 'any' : 'node']),
    ),
  }
}

/** What is wrong, in one line; undefined when all is as expected. `answers`: as probeAll gives them. */
export function problemOf(
  expectation: Expectation,
  answers: readonly string[],
  at: { readonly from: Source; readonly family: IpFamily; readonly protocol: Protocol },
): string | undefined {
  const got = answers.map((answer) => readable(answer, at))
  const isRight = ((): boolean => {
    switch (expectation.kind) {
      case 'answered': {
        const wanted = Object.entries(expectation.by)
        const isWanted = (text: string) =>
          wanted.some(([name, whom]) =>
            whom === 'any' ? text.startsWith(`${name} `) : text === `${name} sees ${whom}`,
          )
        const names = new Set(got.map((text) => text.split(' ')[0]))
        return got.every(isWanted) && wanted.every(([name]) => names.has(name))
      }
      case 'sticky':
        return (
          new Set(got.map((text) => text.split(' ')[0])).size === 1 &&
          expectation.by.some((name) => got[0]?.startsWith(`${name} `))
        )
      case 'rejected':
        return got.length === 1 && got[0] === 'ECONNREFUSED'
      case 'dropped':
        return got.length === 1 && got[0] === 'silence'
      case 'health':
        return got.length === 1 && got[0] === `HTTP-${expectation.status}-${expectation.endpoints}`
      case 'passed':
        if (at.protocol === 'SCTP') return got.length === 1 && got[0] === 'no-SCTP'
        // The world answers on TCP; on UDP it refuses, which a proxy might have done as well.
        if (at.protocol === 'UDP') return got.length === 1 && got[0] === 'ECONNREFUSED'
        return got.length === 1 && got[0]?.startsWith('world ') === true
    }
  })()
  return isRight ? undefined : `${at.family}: ${got.join(', ')}`
}

function readable(
  answer: string,
  { from, family }: { readonly from: Source; readonly family: IpFamily },
): string {
  const [name, address] = answer.split(' ')
  if (address === undefined) return answer
  const whom =
    address === SOURCES[from][family]
      ? 'client'
      : NODE_ADDRESSES[family].includes(address)
        ? 'node'
        : address
  return `${name!} sees ${whom}`
}
