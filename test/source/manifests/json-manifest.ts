import t from 'tap'

import { parseManifest } from '../../../src/source/manifests/parse-manifest.js'

const service = (name: string, port: unknown) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name },
  spec: { clusterIP: '10.96.0.1', ports: [{ port }] },
})

t.test('JSON is read as the same YAML would be', async (t) => {
  const list = { apiVersion: 'v1', kind: 'List', items: [service('a', 80), service('b', 81)] }
  const text = JSON.stringify(list, undefined, 1)
  const read = parseManifest(text)
  t.same(
    read.objects.map(({ key }) => key),
    ['default/a', 'default/b'],
  )
  // A document marker makes YAML of it.
  t.same(read, parseManifest(`---\n${text}`))
})

t.test('a problem in JSON has its line, and costs one object', async (t) => {
  const list = { kind: 'List', items: [service('good', 80), service('bad', 70_000)] }
  const text = JSON.stringify(list, undefined, 1)
  const line = text.slice(0, text.indexOf('70000')).split('\n').length
  const { objects, problems, hasUnreadable } = parseManifest(text)
  t.same(
    objects.map(({ key, current }) => [key, current !== undefined]),
    [
      ['default/good', true],
      ['default/bad', false],
    ],
  )
  t.equal(problems.length, 1)
  t.match(problems[0], new RegExp(`^${line}: Service default/bad: spec\\.ports`))
  t.equal(hasUnreadable, false)
})

t.test('what only looks like JSON is YAML, and half of an object is a problem', async (t) => {
  t.same(parseManifest("{kind: Node, metadata: {name: 'n'}}").objects[0]?.key, 'n')
  const { problems, hasUnreadable } = parseManifest('{"kind": "Node", "metadata": {')
  t.equal(problems.length, 1)
  t.equal(hasUnreadable, true)
})
