/** Shell completion, made from the table of options. */
import { COMMAND_NAMES, optionsOf, type CommandName } from '../config/options.js'
import { SluiceError } from '../lib/errors.js'
import { summaryOf } from './help.js'

/** The completion script of a shell. Throws SluiceError ERR_USAGE for a shell that is not known. */
export function completion(shell: string): string {
  switch (shell) {
    case 'bash':
      return bash()
    case 'zsh':
      return zsh()
    case 'fish':
      return fish()
    default:
      throw new SluiceError('ERR_USAGE', `completion "${shell}": name one of bash, zsh, fish`)
  }
}

function flagsOf(command: CommandName): string[] {
  return optionsOf(command).map(({ flag }) => `--${flag}`)
}

/** What may follow: flag -> words. */
function wordsOf(command: CommandName): [string, readonly string[]][] {
  return optionsOf(command).flatMap(({ flag, type }): [string, readonly string[]][] =>
    type.words === undefined ? [] : [[`--${flag}`, type.words]],
  )
}

function bash(): string {
  const cases = COMMAND_NAMES.map((command) => {
    const values = wordsOf(command).map(
      ([flag, words]) =>
        `        ${flag}) COMPREPLY=($(compgen -W "${words.join(' ')}" -- "$cur")); return ;;`,
    )
    const own = command === 'completion' ? ['bash', 'zsh', 'fish'] : flagsOf(command)
    return [
      `    ${command})`,
      ...(values.length === 0 ? [] : ['      case "$prev" in', ...values, '      esac']),
      `      COMPREPLY=($(compgen -W "${own.join(' ')}" -- "$cur")) ;;`,
    ].join('\n')
  })
  return `# bash completion for kube-sluice
_kube_sluice() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="\${COMP_WORDS[COMP_CWORD-1]}"
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${COMMAND_NAMES.join(' ')}" -- "$cur"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
  esac
}
complete -o default -F _kube_sluice kube-sluice
`
}

function zsh(): string {
  const commands = COMMAND_NAMES.map((name) => `    '${name}:${quoted(summaryOf(name))}'`)
  const cases = COMMAND_NAMES.map(
    (command) => `    ${command}) compadd -- ${flagsOf(command).join(' ')} ;;`,
  )
  return `#compdef kube-sluice
_kube_sluice() {
  local -a commands
  commands=(
${commands.join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  case "$words[2]" in
${cases.join('\n')}
  esac
}
compdef _kube_sluice kube-sluice
`
}

function fish(): string {
  const lines = COMMAND_NAMES.flatMap((command) => [
    `complete -c kube-sluice -n __fish_use_subcommand -f -a ${command} -d '${quoted(summaryOf(command))}'`,
    ...optionsOf(command).map(({ flag, help, type }) => {
      const value = type.placeholder === undefined ? '' : ' -r'
      const words = type.words === undefined ? '' : ` -a '${type.words.join(' ')}'`
      return `complete -c kube-sluice -n '__fish_seen_subcommand_from ${command}' -l ${flag}${value}${words} -d '${quoted(help)}'`
    }),
  ])
  return `# fish completion for kube-sluice\n${lines.join('\n')}\n`
}

function quoted(text: string): string {
  return text.replaceAll("'", '’')
}
