// Writes the pages and the schema that are made from tables in the program; tests compare them.
import { writeFileSync } from 'node:fs'
import { generatedFiles } from '../dist/cli/generated-files.js'
import { format, getFileInfo, resolveConfig } from 'prettier'

const root = new URL('../', import.meta.url)
for (const [file, text] of Object.entries(generatedFiles())) {
  const config = await resolveConfig(new URL('package.json', root))
  const { inferredParser } = await getFileInfo(file)
  const options = { ...config, filepath: file }
  writeFileSync(new URL(file, root), inferredParser ? await format(text, options) : text)
  console.log(file)
}
