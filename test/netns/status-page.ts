/** The status page of a running proxy in a real browser, both in a network namespace of their own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readlinkSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright-core'
import t from 'tap'
import { service, slice } from '../fixtures/test-cluster.js'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const BROWSER = '/usr/bin/chromium'
const SERVICES = 10_000
const PAGE = 'http://127.0.0.1:10249/'
const WAIT_MS = 60_000

const skip =
  process.getuid?.() !== 0
    ? 'network namespaces need root'
    : existsSync(BROWSER)
      ? false
      : `${BROWSER} is not installed`

const manifests = (count: number, endpoints = 2) =>
  Array.from({ length: count }, (_, i) => [
    service(`web-${i}`, {
      clusterIP: `10.96.${Math.floor(i / 250)}.${(i % 250) + 1}`,
      ports: [{ port: 80, protocol: 'TCP' }],
    }),
    slice(
      `web-${i}`,
      Array.from({ length: endpoints }, (_, j) => ({ addresses: [`10.244.1.${j + 2}`] })),
    ),
  ]).flat()

function write(folder: string, items: readonly object[]): void {
  const target = join(folder, 'all.json')
  writeFileSync(`${target}.tmp`, JSON.stringify({ apiVersion: 'v1', kind: 'List', items }))
  renameSync(`${target}.tmp`, target)
}

function startProxy(folder: string): ChildProcess {
  const flags = [
    ...['--manifests', folder, '--hostname-override', 'node-a', '--cluster-cidr', '10.244.0.0/16'],
    ...['--proxy-mode', 'userspace', '--userspace-capture', 'anyip', '--log-level', 'error'],
    ...['--healthz-bind-address', '', '--metrics-bind-address', '127.0.0.1:10249'],
  ]
  const script = 'ip link set lo up && exec "$@"'
  const words = ['-n', 'sh', '-c', script, 'sh', process.execPath, MAIN, 'run', ...flags]
  return spawn('unshare', words, { stdio: ['ignore', 'ignore', 'inherit'] })
}

/** What went wrong on a page, as it is told. */
function watch(page: Page): string[] {
  const troubles: string[] = []
  page.on('console', (message) => {
    // The page is opened before the proxy answers.
    if (message.type() !== 'log') troubles.push(message.text())
  })
  page.on('pageerror', (error) => troubles.push(error.message))
  page.on('request', (request) => {
    if (!request.url().startsWith(PAGE)) troubles.push(`request to ${request.url()}`)
  })
  return troubles
}

async function open(browser: Browser, size: { width: number; height: number }, dark = false) {
  const page = await browser.newPage({ viewport: size, colorScheme: dark ? 'dark' : 'light' })
  page.setDefaultTimeout(WAIT_MS)
  return page
}

async function untilAnswers(page: Page): Promise<void> {
  const deadline = Date.now() + WAIT_MS
  while ((await page.goto(PAGE).catch(() => null)) === null) {
    if (Date.now() > deadline) throw new Error(`no answer at ${PAGE}`)
    await page.waitForTimeout(200)
  }
}

/** Whether the colour does so within 5 s: a browser applies what it is told a moment later. */
async function becomes(page: Page, holds: (color: unknown) => boolean): Promise<boolean> {
  const deadline = Date.now() + 5000
  while (Date.now() < deadline) {
    if (holds(await color(page))) return true
    await page.waitForTimeout(20)
  }
  return false
}

const shown = (page: Page, text: string) =>
  page.locator('#shown', { hasText: text }).waitFor({ timeout: WAIT_MS })
const color = (page: Page) => page.evaluate('getComputedStyle(document.body).backgroundColor')

t.test('the status page in a browser', { skip, timeout: 240_000 }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kube-sluice-test-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true, force: true })
  })
  write(folder, manifests(40))
  const proxy = startProxy(folder)
  t.teardown(() => proxy.kill('SIGKILL'))
  const own = readlinkSync('/proc/self/ns/net')
  while (readlinkSync(`/proc/${proxy.pid}/ns/net`) === own) {
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  const wrapper = join(folder, 'browser.sh')
  writeFileSync(wrapper, `#!/bin/sh\nexec nsenter -t ${proxy.pid} -n ${BROWSER} "$@"\n`, {
    mode: 0o755,
  })
  const browser = await chromium.launch({
    executablePath: wrapper,
    args: ['--no-sandbox', '--disable-background-networking'],
  })
  t.teardown(() => browser.close())
  const page = await open(browser, { width: 1280, height: 800 })
  await untilAnswers(page)
  const answerToPost = await page.evaluate('fetch("", { method: "POST" }).then((a) => a.status)')
  const troubles = watch(page)

  await t.test('headers let nothing in but the page’s own files', async (t) => {
    const response = await page.goto(PAGE)
    const policy = response!.headers()['content-security-policy']!
    t.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self';/)
    t.notMatch(policy, 'unsafe')
    t.equal(response!.headers()['x-frame-options'], 'DENY')
    t.equal(answerToPost, 405)
  })

  await t.test('Services are listed, filtered, opened with the keyboard', async (t) => {
    await shown(page, '40 Service ports')
    await page.keyboard.press('/')
    await page.keyboard.type('web-17')
    await shown(page, '1 of 40')
    t.match(await page.locator('.port:visible').innerText(), 'test/web-17')
    await page.keyboard.press('Enter')
    await page.keyboard.press('ArrowRight')
    await page.locator('.endpoint', { hasText: '10.244.1.3' }).waitFor()
    t.equal(await page.locator('.port:visible').getAttribute('aria-expanded'), 'true')
    await page.keyboard.press('ArrowDown')
    const active = await page.locator('#grid').getAttribute('aria-activedescendant')
    t.match(await page.locator(`#${active}`).innerText(), '10.244.1.2')
    await page.keyboard.press('ArrowLeft')
    await page.locator('.endpoint:visible').first().waitFor({ state: 'hidden' })
    await page.keyboard.press('/')
    await page.keyboard.press('Escape')
    await shown(page, '40 Service ports')
  })

  await t.test('light and dark: the system’s, then the one that is chosen', async (t) => {
    const light = await color(page)
    await page.emulateMedia({ colorScheme: 'dark' })
    t.ok(await becomes(page, (now) => now !== light), 'dark, as the system')
    await page.keyboard.press('t')
    t.ok(await becomes(page, (now) => now === light), 'light, as chosen')
  })

  await t.test('a change of the manifests is shown without a reload', async () => {
    write(folder, manifests(41, 3))
    await shown(page, '41 Service ports')
    await page.locator('.port', { hasText: '3/3' }).first().waitFor()
  })

  await t.test('a phone', async (t) => {
    const phone = await open(browser, { width: 360, height: 740 }, true)
    const ofPhone = watch(phone)
    await phone.goto(PAGE)
    await shown(phone, '41 Service ports')
    t.equal(await phone.evaluate('document.documentElement.scrollWidth'), 360)
    t.strictSame(ofPhone, [])
    await phone.close()
  })

  await t.test('10,000 Services', async (t) => {
    write(folder, manifests(SERVICES))
    await shown(page, '10.0k Service ports')
    await page.locator('#grid').focus()
    await page.keyboard.press('End')
    await page.locator('.port', { hasText: 'web-9999' }).waitFor()
    await page.keyboard.press('/')
    await page.keyboard.type('web-7777')
    await shown(page, '1 of 10.0k')
    t.ok((await page.locator('#lines > *').count()) < 150, 'only lines that are seen are there')
  })

  t.strictSame(troubles, [], 'no error, no violation, no request to elsewhere')
})
