import { readFile } from 'node:fs/promises'
import t from 'tap'
import { KEY_HELP } from '../../src/cli/status/view.js'
import { STEERING_TOTALS } from '../../src/datapath/nfqueue/steering-counters.js'
import { ENDPOINT_STATES } from '../../src/observe/endpoint-state.js'
import { proxyStatus } from '../fixtures/status-document.js'

const page = await readFile(new URL('../../docs/status.md', import.meta.url), 'utf8')

/** `services[].endpoints[].state`; a record of names is `boundsHit.*`. */
function pathsOf(value: unknown, path = ''): string[] {
  if (Array.isArray(value)) return pathsOf(value[0], `${path}[]`)
  if (typeof value !== 'object' || value === null) return [path]
  if (path === 'boundsHit') return ['boundsHit.*']
  return Object.entries(value).flatMap(([key, one]) =>
    pathsOf(one, path === '' ? key : `${path}.${key}`),
  )
}

t.test('docs/status.md has every field of the document with its type, and no other', async (t) => {
  const rows = page.slice(page.indexOf('<!-- fields -->')).matchAll(/^\| `([^`]+)` +\| (\w+)/gm)
  const documented = [...rows].map(([, field, type]) => `${field}: ${type}`)
  const typeAt = (path: string): string => {
    let value: unknown = proxyStatus()
    for (const part of path.replaceAll('[]', '.0').replace('*', 'max-connections').split('.')) {
      value = (value as Record<string, unknown>)[part]
    }
    return typeof value
  }
  const real = pathsOf(proxyStatus()).map((path) => `${path}: ${typeAt(path)}`)
  // Totals of the steering thread come and go with what it does: the page says so.
  const totals = new Set(STEERING_TOTALS.map((total) => `steering.${total}: number`))
  const isPromised = (field: string): boolean => !totals.has(field)
  t.same(documented.filter(isPromised).toSorted(), real.filter(isPromised).toSorted())
  t.same(
    documented.filter((field) => !isPromised(field) && !real.includes(field)),
    [],
  )
})

t.test('it has every state and every key', async (t) => {
  for (const state of ENDPOINT_STATES) t.match(page, `\n| \`${state}\``)
  const plain = page.replaceAll('`', '')
  for (const [keys] of KEY_HELP) t.match(plain, `\n| ${keys} `)
})
