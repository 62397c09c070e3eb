// Writes the pages and the schema that are made from tables in the program; tests compare them.
import { writeFileSync } from 'node:fs'
import { generatedFiles } from '../dist/cli/generated-files.js'
import { format, resolveConfig } from 'prettier'

const root = new URL('../', import.meta.url)
for (const [file, text] of Object.entries(generatedFiles())) {
  const config = await resolveConfig(new URL('package.json', root))
  writeFileSync(new URL(file, root), await format(text, { ...config, filepath: file }))
  console.log(file)
}
