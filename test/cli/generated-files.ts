import { readFile } from 'node:fs/promises'
import { format, resolveConfig } from 'prettier'
import t from 'tap'
import { generatedFiles } from '../../src/cli/generated-files.js'

t.test('pages and schema are those of the tables; else: npm run docs', async (t) => {
  for (const [file, text] of Object.entries(generatedFiles())) {
    const url = new URL(`../../${file}`, import.meta.url)
    const config = await resolveConfig(url)
    t.equal(await readFile(url, 'utf8'), await format(text, { ...config, filepath: file }), file)
  }
})
