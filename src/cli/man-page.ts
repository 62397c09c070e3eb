/** The manual page kube-sluice.8 in the man macros of roff, from the table of options and the help. */
import {
  COMMAND_NAMES,
  OPTIONS,
  optionsOf,
  SECTIONS,
  type CommandName,
  type OptionRow,
} from '../config/options.js'
import { helpOf } from './help.js'
import { wrapText } from './wrap-text.js'

const DESCRIPTION = [
  'kube-sluice is a Kubernetes Service proxy for nodes that have no IPVS modules and may not load eBPF. For each new connection to a Service it picks an endpoint in userspace: by a balancer, among endpoints that are healthy, and the next one when the first does not answer.',
  'The commands that ask the running proxy (status, explain) find it at --metrics-bind-address, by default 127.0.0.1:10249.',
]

const SIGNALS: readonly (readonly [string, string])[] = [
  [
    'SIGTERM, SIGINT',
    'run stops: it takes no new connections, and waits --drain-timeout for those that are open. The second one ends it at once.',
  ],
]

const EXIT_STATUS: readonly (readonly [string, string])[] = [
  ['0', 'success'],
  ['1', 'failure at run time'],
  ['2', 'bad usage or configuration'],
]

const ENVIRONMENT: readonly (readonly [string, string])[] = [
  ['NO_COLOR', 'when it is not empty, nothing is coloured. Colours are for terminals only.'],
]

export function manPage(): string {
  const own = COMMAND_NAMES.filter((name) => name !== 'run' && ownRows(name).length > 0)
  return [
    '.\\" Made from the table of options: npm run docs.',
    '.TH KUBE-SLUICE 8 "" "kube-sluice" "System Administration"',
    // Long flags cannot be hyphenated, nor their lines justified.
    '.ad l',
    '.nh',
    ...section('NAME', [
      'kube-sluice \\- Kubernetes Service proxy that decides per connection in userspace',
    ]),
    ...section('SYNOPSIS', COMMAND_NAMES.flatMap(synopsis)),
    ...section('DESCRIPTION', paragraphs(DESCRIPTION)),
    ...section('COMMANDS', COMMAND_NAMES.flatMap(command)),
    '.SH OPTIONS OF RUN',
    ...roffLines(
      'All but those about the command line itself can be in the file of --config, under their name in camelCase.',
    ),
    ...SECTIONS.flatMap(runSection),
    ...own.flatMap((name) => [
      `.SH OPTIONS OF ${name.toUpperCase()}`,
      ...ownRows(name).flatMap(option),
    ]),
    ...section('SIGNALS', SIGNALS.flatMap(tagged)),
    ...section('EXIT STATUS', EXIT_STATUS.flatMap(tagged)),
    ...section('ENVIRONMENT', ENVIRONMENT.flatMap(tagged)),
    ...section('EXAMPLES', COMMAND_NAMES.flatMap(examples).slice(1)),
    ...section('SEE ALSO', [
      '.BR iptables (8),\n.BR nft (8),\n.BR ipset (8),\n.BR ipvsadm (8),\n.BR conntrack (8)',
    ]),
    '',
  ].join('\n')
}

/** Options that a command has besides those of `run`. */
function ownRows(name: CommandName): OptionRow[] {
  return Object.values<OptionRow>(OPTIONS).filter(
    ({ commands }) => commands.includes(name) && name !== 'run',
  )
}

function section(title: string, lines: readonly string[]): string[] {
  return [`.SH ${title}`, ...lines]
}

function paragraphs(texts: readonly string[]): string[] {
  return texts.flatMap((text, index) => [...(index === 0 ? [] : ['.PP']), ...roffLines(text)])
}

function synopsis(name: CommandName, index: number): string[] {
  const [word = '', ...rest] = helpOf(name).usage.split(' ')
  const line = `.B kube\\-sluice ${roff(word)}${rest.length === 0 ? '' : `\n${roff(rest.join(' '))}`}`
  return index === 0 ? [line] : ['.br', line]
}

function command(name: CommandName): string[] {
  return ['.TP', `.B ${roff(name)}`, ...roffLines(`${helpOf(name).summary}.`)]
}

function runSection(title: (typeof SECTIONS)[number]): string[] {
  const rows = optionsOf('run').filter((row) => row.section === title)
  return rows.length === 0 ? [] : [`.SS ${roff(title)}`, ...rows.flatMap(option)]
}

function option({ flag, short, type, help, ...row }: OptionRow): string[] {
  const letter = short === undefined ? '' : `\\fB\\-${short}\\fR, `
  const value = type.placeholder === undefined ? '' : ` \\fI${roff(type.placeholder)}\\fR`
  const notes = [
    type.range === undefined ? '' : `; ${type.range}`,
    row.default === undefined || row.default === '' ? '' : ` (default ${row.default})`,
  ].join('')
  return ['.TP', `${letter}\\fB\\-\\-${roff(flag)}\\fR${value}`, ...roffLines(`${help}${notes}.`)]
}

function tagged([term, text]: readonly [string, string]): string[] {
  return ['.TP', `.B ${roff(term)}`, ...roffLines(text)]
}

function examples(name: CommandName): string[] {
  return helpOf(name).examples.flatMap((example) => ['.PP', '.nf', roff(example), '.fi'])
}

/**
 * Text that roff prints as it is: its escape character, its hyphens, lines that would be requests.
 * A long choice of words may be broken behind each `|`.
 */
function roff(text: string): string {
  const escaped = text.replaceAll('\\', '\\e').replaceAll('-', '\\-').replaceAll('|', '|\\:')
  return escaped.replace(/^([.'])/, '\\&$1')
}

/** The same in lines of a source that people read, too. */
function roffLines(text: string): string[] {
  return wrapText(text, 66).map(roff)
}
