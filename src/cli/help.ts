/** Renders help from the table of options. */
import {
  COMMAND_NAMES,
  optionsOf,
  SECTIONS,
  type CommandName,
  type OptionRow,
} from '../config/options.js'
import { wrapText } from './wrap-text.js'

/** What help, completion and the manual page say of a command. */
export interface CommandHelp {
  readonly summary: string
  readonly usage: string
  readonly examples: readonly string[]
}

const COMMANDS: Readonly<Record<CommandName, CommandHelp>> = {
  run: {
    summary: 'serve the Services of this node until it is stopped',
    usage: 'run [--config FILE] [--manifests PATH | --kubeconfig FILE] [options]',
    examples: [
      'kube-sluice run --kubeconfig /etc/kubernetes/kube-sluice.conf',
      'kube-sluice run --manifests /etc/kube-sluice/manifests',
      'kube-sluice run --manifests all.yaml --userspace-capture anyip --cluster-cidr 10.244.0.0/16',
    ],
  },
  render: {
    summary: 'print the rules that a mode would load, and touch nothing',
    usage: 'render --proxy-mode iptables|ipvs|nftables --manifests PATH [options of run]',
    examples: [
      'kube-sluice render --proxy-mode nftables --manifests all.yaml --hostname-override node-a',
    ],
  },
  check: {
    summary:
      "show what this node's kernel can do and what is missing, or check a configuration file",
    usage: 'check [-o table|json] [--config FILE]',
    examples: ['kube-sluice check', 'kube-sluice check --config /etc/kube-sluice/config.yaml'],
  },
  status: {
    summary: 'show Services, endpoints and connections of the running proxy',
    usage: 'status [--watch] [-n NAMESPACE] [--sort COLUMN] [--filter TEXT] [-o table|json]',
    examples: [
      'kube-sluice status --watch',
      'kube-sluice status --sort state',
      'kube-sluice status -o json | jq .totals',
    ],
  },
  explain: {
    summary: 'say why a connection goes where it goes',
    usage: 'explain PROTO CLIENT-IP[:PORT] VIP:PORT [--packet] [--manifests PATH] [options of run]',
    examples: [
      'kube-sluice explain tcp 10.0.0.5 10.96.0.10:443',
      'kube-sluice explain tcp 10.0.0.5:40000 10.96.0.10:443 --packet',
      'kube-sluice explain udp 10.244.1.2 10.96.0.53:53 --manifests all.yaml --proxy-mode iptables',
    ],
  },
  demo: {
    summary: 'show it all in network namespaces, with endpoints that die',
    usage: 'demo [--seconds N] [--plain]',
    examples: ['kube-sluice demo'],
  },
  cleanup: {
    summary: 'remove everything that this program, or kube-proxy, has left on this node',
    usage: 'cleanup [--kube-proxy]',
    examples: ['kube-sluice cleanup', 'kube-sluice cleanup --kube-proxy'],
  },
  completion: {
    summary: 'print completion for a shell',
    usage: 'completion bash|zsh|fish',
    examples: ['source <(kube-sluice completion bash)'],
  },
  help: {
    summary: 'show this help, or that of a command',
    usage: 'help [COMMAND]',
    examples: ['kube-sluice help run'],
  },
}

/** Width that help is wrapped to. */
function width(): number {
  return Math.max(40, Math.min(process.stdout.columns || 80, 100))
}

export function helpOf(command: CommandName): CommandHelp {
  return COMMANDS[command]
}

/** One line about a command. */
export function summaryOf(command: CommandName): string {
  return COMMANDS[command].summary
}

export function generalHelp(): string {
  const commands = COMMAND_NAMES.map((name) => `  ${name.padEnd(12)}${COMMANDS[name].summary}`)
  return [
    'kube-sluice: a Kubernetes Service proxy that decides per connection in userspace',
    '',
    'Usage: kube-sluice COMMAND [options]',
    '',
    ...commands,
    '',
    'kube-sluice help COMMAND shows its options; --version prints the version.',
    '',
  ].join('\n')
}

export function commandHelp(command: CommandName): string {
  const { summary, usage, examples } = COMMANDS[command]
  const rows = optionsOf(command)
  const lines = [`kube-sluice ${command}: ${summary}`, '', `Usage: kube-sluice ${usage}`, '']
  for (const section of SECTIONS) {
    const inSection = rows.filter((row) => row.section === section)
    if (inSection.length === 0) continue
    lines.push(`${section}:`, ...inSection.flatMap(optionHelp), '')
  }
  lines.push('Examples:', ...examples.map((example) => `  ${example}`), '')
  return lines.join('\n')
}

function optionHelp(row: OptionRow): string[] {
  const short = row.short === undefined ? '' : `-${row.short}, `
  const value = row.type.placeholder === undefined ? '' : ` ${row.type.placeholder}`
  const notes = [
    row.type.range === undefined ? '' : `; ${row.type.range}`,
    row.default === undefined || row.default === '' ? '' : ` (default ${row.default})`,
  ].join('')
  // A long choice of words is broken between them, under the flag.
  const [first = '', ...more] = wrapText(`  ${short}--${row.flag}${value}`, width(), '|')
  return [
    first,
    ...more.map((line) => `        ${line}`),
    ...wrapText(`${row.help}${notes}`, width() - 8).map((line) => `        ${line}`),
  ]
}
