/** Compiles a test fixture and the fixtures beside it that it imports, so that a scenario can run it. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const FIXTURES = fileURLToPath(new URL('../test/fixtures/', import.meta.url))

/** @param {string} name of the fixture @param {string} folder to write to @returns path of the compiled script */
export function compileFixture(name, folder) {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
  const waiting = [name]
  for (const one of waiting) {
    const source = readFileSync(join(FIXTURES, `${one}.ts`), 'utf8')
    for (const { fileName } of ts.preProcessFile(source).importedFiles) {
      const beside = /^\.\/([^/]+)\.js$/.exec(fileName)?.[1]
      if (beside !== undefined && !waiting.includes(beside)) waiting.push(beside)
    }
    const { outputText } = ts.transpileModule(source, {
      compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 },
    })
    writeFileSync(join(folder, `${one}.js`), outputText)
  }
  return join(folder, `${name}.js`)
}
