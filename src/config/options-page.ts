/** docs/configuration.md, made from the table of options. */
import { KUBE_PROXY_DOCUMENT, KUBE_SLUICE_DOCUMENT } from './config-file.js'
import { KUBE_PROXY_ONLY } from './kube-proxy-only.js'
import { fileKeyOf, isInFile, SECTIONS, type KubeProxyName, type OptionRow } from './option-row.js'
import { optionsOf } from './options.js'

const HEAD = `# Configuration

<!-- Made from the table of options: npm run docs. Edit src/config, not this page. -->

A setting is taken from the command line, else from the file that \`--config\` names, else it is the
default. Durations are written as Kubernetes writes them: \`500ms\`, \`1s\`, \`2m30s\`. All problems are
reported at once, each with where it stands, the value and what is allowed; the exit status is 2 then.
\`kube-sluice check --config FILE\` checks a file by itself.

## The file

YAML or JSON, with one document of each kind, or one of them:

\`\`\`yaml
apiVersion: ${KUBE_PROXY_DOCUMENT.apiVersion} # kube-proxy's own, as it is
kind: ${KUBE_PROXY_DOCUMENT.kind}
clusterCIDR: 10.244.0.0/16
mode: '' # as kubeadm writes it: auto here
---
apiVersion: ${KUBE_SLUICE_DOCUMENT.apiVersion} # every option, its flag in camelCase
kind: ${KUBE_SLUICE_DOCUMENT.kind}
connectTimeout: 500ms
\`\`\`

- Ours goes before kube-proxy's where both have an option.
- In kube-proxy's document a zero value (\`0\`, \`0s\`, \`''\`, \`null\`) means the default, as it does for
  kube-proxy; in ours only \`null\` does.
- An unknown field is an error that names the nearest known one.
- kube-proxy ignores most flags when it has a file. Here a flag always goes before the file.
- \`deploy/kube-sluice-config.schema.json\` is a JSON Schema of a document.
- \`--write-config-to FILE\` writes the settings in force with all defaults.

## A file that changes

The file is watched (a ConfigMap that is mounted too). When it changes it is read and checked as at
the start. With an error in it nothing changes, and one line of the log says what is wrong. Options
that are marked _live_ below are in force at once; for others a line says that a restart is needed.
What a flag sets is not changed by a file.
`

/** The page, before prettier has been over it. */
export function optionsPage(): string {
  const rows = optionsOf('run')
  const sections = SECTIONS.flatMap((section) => {
    const inSection = rows.filter((row) => row.section === section)
    return inSection.length === 0 ? [] : [`## ${section}`, '', ...table(inSection), '']
  })
  return [HEAD, ...sections, ...kubeProxyOnly(), ''].join('\n')
}

function table(rows: readonly OptionRow[]): string[] {
  return [
    '| flag | in the file | of kube-proxy | default | live |',
    '| --- | --- | --- | --- | --- |',
    ...rows.map(tableRow),
    '',
    ...rows.map((row) => `- \`--${row.flag}${valueOf(row)}\`: ${row.help}${rangeOf(row)}.`),
  ]
}

function tableRow(row: OptionRow): string {
  const cells = [
    code(`--${row.flag}`),
    isInFile(row) ? code(fileKeyOf(row)) : '',
    (row.kubeProxy ?? []).map(kubeProxyName).join('<br>'),
    row.default === undefined || row.default === '' ? '' : code(row.default),
    row.live === true ? 'yes' : '',
  ]
  return `| ${cells.join(' | ')} |`
}

function kubeProxyName({ flag, field, modes }: KubeProxyName): string {
  const names = [
    flag === undefined ? [] : code(`--${flag}`),
    field === undefined ? [] : code(field),
  ]
  const when = modes === undefined ? '' : ` (${modes.join(', ')})`
  return `${names.flat().join(', ')}${when}`
}

function valueOf({ type }: OptionRow): string {
  return type.placeholder === undefined ? '' : ` ${type.placeholder}`
}

function rangeOf({ type }: OptionRow): string {
  return type.range === undefined ? '' : `; ${type.range}`
}

function kubeProxyOnly(): string[] {
  return [
    '## What kube-proxy has and this program does not need',
    '',
    'These are read and checked. One that asks for something else than its default is told of in one',
    'warning, with the reason.',
    '',
    '| flag | field | reason |',
    '| --- | --- | --- |',
    ...KUBE_PROXY_ONLY.map(
      ({ flag, field, reason }) =>
        `| ${flag === undefined ? '' : code(`--${flag}`)} | ${field === undefined ? '' : code(field)} | ${reason} |`,
    ),
  ]
}

function code(text: string): string {
  return `\`${text.replaceAll('|', '\\|')}\``
}
