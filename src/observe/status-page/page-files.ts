/** The files of the page, read when they are first asked for and then kept in memory. */
import { readFileSync } from 'node:fs'
import type { Answer, Answerer } from '../http-server.js'

/** Where the build puts them. */
const FOLDER = new URL('../../page/', import.meta.url)

const TYPES = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
} as const

const MODULES = [
  'app',
  'chart',
  'feed',
  'format',
  'line-path',
  'row-list',
  'row-view',
  'store',
  'stream',
  'summary-view',
  'table',
  'theme',
]

/** Path -> file. */
const FILES: Readonly<Record<string, string>> = {
  '/': 'index.html',
  '/page/style.css': 'style.css',
  '/page/icon.svg': 'icon.svg',
  ...Object.fromEntries(MODULES.map((name) => [`/page/${name}.js`, `${name}.js`])),
}

/** Nothing but our own files, nothing inline, nobody frames it, and no text becomes markup. */
export const PAGE_HEADERS = {
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
} as const

export function pageFiles(folder: URL = FOLDER): [string, Answerer][] {
  const kept = new Map<string, Answer>()
  return Object.entries(FILES).map(([path, file]) => [
    path,
    () => {
      const known = kept.get(path)
      if (known !== undefined) return known
      const contentType = TYPES[file.slice(file.lastIndexOf('.') + 1) as keyof typeof TYPES]
      const body = readFileSync(new URL(file, folder), 'utf8')
      const answer = { status: 200, contentType, body, headers: PAGE_HEADERS }
      kept.set(path, answer)
      return answer
    },
  ])
}
