import { readFileSync } from 'node:fs'
import t from 'tap'
import { ERROR_CODES, KernelError, messageOf } from '../../src/lib/errors.js'

t.test('docs/errors.md has exactly the codes that there are', async (t) => {
  const page = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8')
  const documented = [...page.matchAll(/^\| `(ERR_\w+)`/gm)].map(([, code]) => code)
  t.strictSame(documented.sort(), [...ERROR_CODES].sort())
})

t.test('a kernel error names operation, errno and text', async (t) => {
  const error = new KernelError('bind 10.0.0.1:80', 'EADDRINUSE', 'address already in use')
  t.equal(error.message, 'bind 10.0.0.1:80: address already in use (EADDRINUSE)')
  t.equal(error.code, 'ERR_KERNEL')
  t.equal(messageOf('text'), 'text')
})
