import { readFile, writeFile } from 'node:fs/promises'
import { format, resolveConfig } from 'prettier'
import t from 'tap'

import { describeBehaviour } from '../packet-suite/describe-behaviour.js'
import { casesOf, SERVICES } from '../packet-suite/suite.js'

const PAGE = new URL('../../docs/service-behaviour.md', import.meta.url)
const cases = SERVICES.flatMap((service) => casesOf(service))

t.test('docs/service-behaviour.md is what the cases say; else: npm run docs', async (t) => {
  const config = await resolveConfig(PAGE)
  const text = await format(describeBehaviour(), { ...config, parser: 'markdown' })
  // What `tap --snapshot` sets: the page is written anew.
  if (process.env['TAP_SNAPSHOT'] === '1') await writeFile(PAGE, text)
  t.equal(await readFile(PAGE, 'utf8'), text)
})

t.test('each case has a name of its own', async (t) => {
  const names = cases.map(({ name }) => name)
  const twice = names.filter((name, index) => names.indexOf(name) !== index)
  t.same(twice, [])
  t.ok(names.length >= 120, `${names.length} cases`)
})
