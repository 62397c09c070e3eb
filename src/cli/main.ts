#!/usr/bin/env node
/**
 * The command line: the only owner of argv, signals and the exit status.
 * 0 success, 1 failure at run time, 2 bad usage or configuration. Errors are lines on standard error.
 */
import { readFileSync } from 'node:fs'
import { checkConfigFile, loadRunConfig, parseFlags } from '../config/load.js'
import { COMMAND_NAMES, type CommandName } from '../config/options.js'
import { messageOf, SluiceError } from '../lib/errors.js'
import { nearestName } from '../lib/nearest-name.js'
import { completion } from './completion.js'
import { commandHelp, generalHelp } from './help.js'

const write = (text: string): void => {
  process.stdout.write(text)
}

function version(): string {
  const file = new URL('../../package.json', import.meta.url)
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}

/** Aborts at the first SIGTERM or SIGINT, with its name as the reason; the second one ends the process at once. */
function stopSignal(): AbortSignal {
  const controller = new AbortController()
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(1)
      controller.abort(name)
    })
  }
  return controller.signal
}

/** Runs a command that has been checked to exist; returns the exit status. */
async function runCommand(command: CommandName, words: readonly string[]): Promise<number> {
  switch (command) {
    case 'run': {
      const { startRun } = await import('./start-run.js')
      return startRun(words, { signal: stopSignal(), write, version: version() })
    }
    case 'render': {
      const { render } = await import('./render.js')
      return render(loadRunConfig(words), {
        write,
        warn: (message) => process.stderr.write(`kube-sluice: warning: ${message}\n`),
      })
    }
    case 'check': {
      const { output, config } = parseFlags(command, words)
      if (config !== undefined) {
        for (const warning of checkConfigFile(config)) write(`warning: ${warning}\n`)
        write(`${config}: valid\n`)
        return 0
      }
      const { check } = await import('./check.js')
      return check({ json: output === 'json', write })
    }
    case 'status': {
      const values = parseFlags(command, words)
      const { status } = await import('./status.js')
      return status(values, { write, signal: stopSignal() })
    }
    case 'explain': {
      const { explainCommand } = await import('./explain.js')
      return explainCommand(words, {
        write,
        warn: (message) => process.stderr.write(`kube-sluice: warning: ${message}\n`),
      })
    }
    case 'demo': {
      const { seconds, plain } = parseFlags(command, words)
      const { demo } = await import('./demo.js')
      const interactive = process.stdout.isTTY && !plain
      return demo({ interactive, write, signal: stopSignal(), seconds })
    }
    case 'cleanup': {
      const { kubeProxy } = parseFlags(command, words)
      const { cleanup } = await import('./cleanup.js')
      return cleanup({ write, kubeProxy })
    }
    case 'completion':
      write(completion(words[0] ?? ''))
      return 0
    case 'help':
      write(words[0] === undefined ? generalHelp() : commandHelp(knownCommand(words[0])))
      return 0
  }
}

function knownCommand(name: string): CommandName {
  const command = COMMAND_NAMES.find((known) => known === name)
  if (command !== undefined) return command
  const nearest = nearestName(name, COMMAND_NAMES)
  const hint = nearest === undefined ? '' : ` Did you mean "${nearest}"?`
  throw new SluiceError('ERR_USAGE', `there is no command "${name}".${hint} See: kube-sluice help`)
}

async function main(argv: readonly string[]): Promise<number> {
  const [first, ...words] = argv
  if (first === undefined) {
    process.stderr.write(generalHelp())
    return 2
  }
  if (first === '--version') {
    write(`kube-sluice ${version()}\n`)
    return 0
  }
  if (first === '--help' || first === '-h') {
    write(generalHelp())
    return 0
  }
  const command = knownCommand(first)
  if (words.includes('--help') || words.includes('-h')) {
    write(commandHelp(command))
    return 0
  }
  return runCommand(command, words)
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
})

try {
  process.exitCode = await main(process.argv.slice(2))
  // Whatever still has a timer or a socket open has no say any more.
  process.exit()
} catch (error) {
  for (const line of messageOf(error).split('\n')) process.stderr.write(`kube-sluice: ${line}\n`)
  const isUsage = error instanceof SluiceError && ['ERR_USAGE', 'ERR_CONFIG'].includes(error.code)
  process.exit(isUsage ? 2 : 1)
}
