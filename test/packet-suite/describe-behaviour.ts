/** Makes docs/service-behaviour.md from the cases. Pure. */
import { adapted } from './compare.js'
import { CONFIGURATIONS } from './configurations.js'
import { type ModeName, MODES, modeOf } from './modes.js'
import type { Expectation } from './packet-case.js'
import { casesOf, SERVICES, type SingleCase, TOPICS } from './suite.js'

const MODE_NAMES = Object.keys(MODES) as ModeName[]

export function describeBehaviour(): string {
  const cases = SERVICES.flatMap((service) => casesOf(service))
  const lines = [
    '# What becomes of a connection',
    '',
    `Made by \`npm run docs\` from the packet suite (\`test/packet-suite\`): ${cases.length} cases that real packets are sent for, in network namespaces (for ipvs in user-mode Linux, which has it), against every mode, over IPv4 and IPv6, TCP and UDP, some over SCTP. The rules are those of kube-proxy's iptables mode; where a mode does something else the last column says what, and a note below why.`,
    '',
    ...legend(),
    ...modeLines(),
  ]
  const notes = new Notes()
  for (const topic of TOPICS) {
    lines.push(`## ${topic.title}`, '', topic.about, '')
    lines.push('| Service | from | to | what happens | differences |', '| - | - | - | - | - |')
    for (const numbered of SERVICES.filter((one) => one.topic === topic)) {
      const { title, configuration = 'default' } = numbered.service
      const where = configuration === 'default' ? '' : ` (${configuration})`
      for (const [index, one] of casesOf(numbered).entries()) {
        const cells = [index === 0 ? `${title}${where}` : '', one.from, destinationOf(one)]
        lines.push(`| ${[...cells, textOf(one.expect), notes.of(one)].join(' | ')} |`)
      }
    }
    lines.push('')
  }
  return [...lines, ...notes.lines()].join('\n')
}

function legend(): string[] {
  return [
    'From: `outside` is a client of no cluster, `node` a program on the node, `pod` a Pod of this node, `remote` one of another node, `pod-1` the endpoint of that name. Endpoints: `pod-1` and `pod-2` are on this node, `remote-1` and `remote-2` on another, `host` is in the network of the node.',
    '',
    '- **kept**: these endpoints answer, all of them and no others, and see the address of the client',
    '- **masqueraded**: they see an address of the node',
    '- **one of**: one of these takes all connections',
    '- **refused**: the client gets ECONNREFUSED, for UDP by an ICMP port unreachable',
    '- **dropped**: the client hears nothing',
    '- **passed on**: as if there were no proxy',
    '- **HTTP status**: a health-check node port answers so, with that many endpoints of this node',
    '',
    'Flags:',
    '',
    ...Object.entries(CONFIGURATIONS).map(([name, { says }]) => `- ${name}: ${says}`),
    '',
  ]
}

function modeLines(): string[] {
  const hiding = MODE_NAMES.filter((mode) => modeOf(mode).hidesClient !== undefined)
  return [
    `Modes: ${MODE_NAMES.join(', ')}.`,
    '',
    ...MODE_NAMES.flatMap((mode) => {
      const why = modeOf(mode).withoutSctp
      return why === undefined ? [] : [`- ${mode}: no packets of SCTP are sent; ${why}.`]
    }),
    ...hiding.map(
      (mode) => `- ${mode}: **kept** is **masqueraded** there; ${modeOf(mode).hidesClient ?? ''}.`,
    ),
    '',
  ]
}

function destinationOf({ to, protocols, families }: SingleCase): string {
  const only = [
    ...(protocols.length === 1 ? protocols : []),
    ...(families.length === 1 ? families : []),
  ]
  return [to.join(', '), ...only].join(', ')
}

function textOf(expectation: Expectation): string {
  switch (expectation.kind) {
    case 'rejected':
      return 'refused'
    case 'dropped':
      return 'dropped'
    case 'passed':
      return 'passed on'
    case 'health':
      return `HTTP ${expectation.status}, ${expectation.endpoints} endpoints`
    case 'sticky':
      return `one of ${expectation.by.join(', ')}${expectation.each === true ? ', of each destination' : ''}`
    case 'answered': {
      const by = Object.entries(expectation.by)
      const word = { client: 'kept', node: 'masqueraded', any: 'answered' }
      return (['client', 'node', 'any'] as const)
        .map((whom) => ({ whom, names: by.filter(([, seen]) => seen === whom) }))
        .filter(({ names }) => names.length > 0)
        .map(({ whom, names }) => `${word[whom]}: ${names.map(([name]) => name).join(', ')}`)
        .join('; ')
    }
  }
}

/** The reasons, numbered as they come. */
class Notes {
  readonly #numbers = new Map<string, number>()

  of({ expect, except = {} }: SingleCase): string {
    const groups = new Map<string, ModeName[]>()
    for (const mode of MODE_NAMES) {
      const difference = except[mode]
      if (difference === undefined) continue
      const what = textOf(adapted(difference.expect, modeOf(mode)))
      if (what === textOf(adapted(expect, modeOf(mode)))) continue
      const key = `${what} [${this.#numberOf(difference.why)}]`
      groups.set(key, [...(groups.get(key) ?? []), mode])
    }
    return [...groups].map(([what, modes]) => `${modes.join(', ')}: ${what}`).join('; ')
  }

  lines(): string[] {
    const notes = [...this.#numbers].map(([why, number]) => `${number}. ${why}`)
    return notes.length === 0 ? [] : ['## Notes', '', ...notes, '']
  }

  #numberOf(why: string): number {
    const number = this.#numbers.get(why) ?? this.#numbers.size + 1
    this.#numbers.set(why, number)
    return number
  }
}
