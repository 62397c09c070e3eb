import { readFile } from 'node:fs/promises'
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { format, getFileInfo, resolveConfig } from 'prettier'
import t from 'tap'
import { COMMAND_NAMES, OPTIONS } from '../../src/config/options.js'
import { generatedFiles } from '../../src/cli/generated-files.js'

t.test('pages and schema are those of the tables; else: npm run docs', async (t) => {
  for (const [file, text] of Object.entries(generatedFiles())) {
    const url = new URL(`../../${file}`, import.meta.url)
    const config = await resolveConfig(url)
    const { inferredParser } = await getFileInfo(file)
    const expected =
      inferredParser === null ? text : await format(text, { ...config, filepath: file })
    t.equal(await readFile(url, 'utf8'), expected, file)
  }
})

const PAGE = fileURLToPath(new URL('../../docs/kube-sluice.8', import.meta.url))
const groff = (...args: string[]) => spawnSync('groff', args, { encoding: 'utf8' })
const skip = groff('--version').status === 0 ? false : 'groff is not installed'

t.test('groff has nothing to say about the manual page', { skip }, async (t) => {
  const { status, stdout, stderr } = groff('-man', '-Tascii', '-ww', '-P-cbou', PAGE)
  t.equal(status, 0)
  t.equal(stderr, '')
  for (const heading of [
    'NAME',
    'SYNOPSIS',
    'OPTIONS OF RUN',
    'OPTIONS OF STATUS',
    'EXIT STATUS',
  ]) {
    t.match(stdout, new RegExp(`^${heading}$`, 'm'))
  }
})

t.test('the manual page has every command and every flag', async (t) => {
  const text = (await readFile(PAGE, 'utf8')).replaceAll('\\-', '-')
  for (const name of COMMAND_NAMES) t.match(text, `\n.B ${name}\n`)
  for (const { flag } of Object.values(OPTIONS)) t.match(text, `--${flag}\\fR`)
})
