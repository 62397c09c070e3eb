/** Every link in the documentation leads somewhere, and every page can be reached. */
import { existsSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import t from 'tap'

import { markdownFiles, readMarkdown, ROOT, type MarkdownFile } from '../fixtures/markdown.js'

const files = new Map(markdownFiles().map((file) => [file.path, file]))

/** Where a link leads: a path from the root, and an anchor; undefined when it leaves the repository. */
function target(file: MarkdownFile, link: string): { path: string; anchor: string } | undefined {
  if (/^[a-z]+:/.test(link)) return undefined
  const [path = '', anchor = ''] = link.split('#')
  const full = path === '' ? file.path : normalize(join(dirname(file.path), path))
  return { path: full.replace(/\/$/, ''), anchor: decodeURIComponent(anchor) }
}

/** The page that a link shows: a folder shows its README. */
function pageAt(path: string): MarkdownFile | undefined {
  return files.get(path) ?? files.get(`${path}/README.md`)
}

t.test('every relative link names a file, and its anchor a heading of it', async (t) => {
  const broken: string[] = []
  for (const file of files.values()) {
    for (const link of file.links) {
      const to = target(file, link)
      if (to === undefined) continue
      const page = pageAt(to.path)
      if (!existsSync(join(ROOT, to.path))) broken.push(`${file.path}: ${link}: no such file`)
      else if (to.anchor !== '' && page?.anchors.has(to.anchor) !== true)
        broken.push(`${file.path}: ${link}: no such heading`)
    }
  }
  t.same(broken, [])
  t.ok(files.size > 20, `${files.size} pages looked at`)
})

t.test('every page is reached from README.md by links', async (t) => {
  const reached = new Set<string>()
  const waiting = [files.get('README.md')!]
  for (let page = waiting.pop(); page !== undefined; page = waiting.pop()) {
    if (reached.has(page.path)) continue
    reached.add(page.path)
    for (const link of page.links) {
      const to = target(page, link)
      const next = to === undefined ? undefined : pageAt(to.path)
      if (next !== undefined) waiting.push(next)
    }
  }
  t.same(
    [...files.keys()].filter((path) => !reached.has(path)),
    [],
  )
})

t.test('files and folders of the repository that are named in code are there', async (t) => {
  // A word in capitals stands for several names.
  const NAMED = /^(?:src|test|docs|deploy|perf|native|\.ci)\/(?!.*[A-Z]{3})[\w./-]*$/
  // What programs make is in .gitignore.
  const MADE = /(?:^|\/)(?:node_modules|dist|build|coverage|results)(?:\/|$)/
  const missing = [...files.values()].flatMap(({ path, spans }) =>
    spans
      .filter((span) => NAMED.test(span) && !MADE.test(span) && !existsSync(join(ROOT, span)))
      .map((span) => `${path}: ${span}`),
  )
  t.same(missing, [])
})

t.test('a page is read as a reader sees it', async (t) => {
  const page = readMarkdown(
    'docs/page.md',
    [
      '# What `x` does, and why',
      '## Twice',
      '## Twice',
      '[one](a.md#b) `[not](a-link.md)` <img src="p.svg">',
      '```sh',
      '# no heading',
      'tool --one \\',
      '  --two',
      '```',
    ].join('\n'),
  )
  t.same([...page.anchors], ['what-x-does-and-why', 'twice', 'twice-1'])
  t.same(page.links, ['a.md#b', 'p.svg'])
  t.same(page.codeLines.slice(0, 2), ['# no heading', 'tool --one --two'])
})
