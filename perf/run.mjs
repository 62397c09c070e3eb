/** `npm run perf [-- SCENARIO [options]]`: runs one of scenario/, or says which there are. */
import { readdirSync } from 'node:fs'

const folder = new URL('scenario/', import.meta.url)
const names = readdirSync(folder)
  .filter((name) => name.endsWith('.mjs'))
  .map((name) => name.slice(0, -'.mjs'.length))
const [wanted = 'userspace', ...args] = process.argv.slice(2)

if (!names.includes(wanted)) {
  console.error(`perf: no scenario "${wanted}"; there is: ${names.join(', ')}`)
  process.exit(2)
}
const { run } = await import(new URL(`${wanted}.mjs`, folder).href)
process.exit(await run(args))
