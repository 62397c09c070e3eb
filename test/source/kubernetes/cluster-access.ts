import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { clusterAccess } from '../../../src/source/kubernetes/cluster-access.js'
import { certificates, clientOf, startApiServer, startSource } from '../../fixtures/api-access.js'
import { writeKubeconfig, type KubeconfigParts } from '../../fixtures/kubeconfig.js'
import { node, service } from '../../fixtures/objects.js'

const signal = AbortSignal.timeout(60_000)
const base64 = (text: string) => Buffer.from(text).toString('base64')
const access = (kubeconfig: string) => clusterAccess({ kubeconfig, master: undefined })

/** What a server that wants the token `good` or the client `proxy` says to this user. */
async function tryUser(
  t: { teardown: (end: () => unknown) => void },
  user: object,
  files: KubeconfigParts['files'] = {},
) {
  const { server, url, authority } = await startApiServer(t, {
    tokens: ['good'],
    clientNames: ['proxy'],
  })
  const kubeconfig = writeKubeconfig(t, { server: url, ca: authority.cert, user, files })
  const client = clientOf(await access(kubeconfig))
  t.teardown(() => {
    client.close()
  })
  const ask = async () => {
    try {
      await client.call({ path: '/api/v1/nodes', signal })
      return 'welcome'
    } catch (error) {
      return (error as Error).message
    }
  }
  return { server, kubeconfig, ask, answer: await ask() }
}

t.test('a token in the file', async (t) => {
  t.equal((await tryUser(t, { token: 'good' })).answer, 'welcome')
  t.match((await tryUser(t, { token: 'bad' })).answer, /401 Unauthorized/)
  t.match((await tryUser(t, {})).answer, /401 Unauthorized/)
})

t.test('a token file beside the kubeconfig, which is read again', async (t) => {
  const { server, kubeconfig, ask, answer } = await tryUser(
    t,
    { tokenFile: 'token' },
    { token: 'good\n' },
  )
  t.equal(answer, 'welcome')
  server.setTokens(['better'])
  t.match(await ask(), /401/)
  writeFileSync(join(dirname(kubeconfig), 'token'), 'better\n')
  t.equal(await ask(), 'welcome')
  rmSync(join(dirname(kubeconfig), 'token'))
  t.match(await ask(), /credentials cannot be read: ENOENT/)
})

t.test('a client certificate, in the file or beside it', async (t) => {
  const { authority } = certificates()
  const { key, cert } = authority.client('proxy')
  const data = { 'client-key-data': base64(key), 'client-certificate-data': base64(cert) }
  t.equal((await tryUser(t, data)).answer, 'welcome')
  const names = { 'client-key': 'my.key', 'client-certificate': 'my.crt' }
  const files = { 'my.key': key, 'my.crt': cert }
  const { answer, ask, kubeconfig } = await tryUser(t, names, files)
  t.equal(answer, 'welcome')
  const other = authority.client('nobody')
  writeFileSync(join(dirname(kubeconfig), 'my.key'), other.key)
  writeFileSync(join(dirname(kubeconfig), 'my.crt'), other.cert)
  t.match(await ask(), /401/, 'another one is used as soon as it is there')
})

const credential = (token: string, expiry?: string) =>
  JSON.stringify({
    apiVersion: 'client.authentication.k8s.io/v1',
    kind: 'ExecCredential',
    status: { token, ...(expiry && { expirationTimestamp: expiry }) },
  })

t.test('an exec plugin', async (t) => {
  const exec = {
    apiVersion: 'client.authentication.k8s.io/v1',
    command: './plugin',
    args: ['token-file'],
    env: [{ name: 'COLOUR', value: 'blue' }],
  }
  const script = [
    '#!/bin/sh',
    'cd "$(dirname "$0")"',
    'echo "$COLOUR $KUBERNETES_EXEC_INFO" >> runs',
    'cat "$1"',
    '',
  ].join('\n')
  const files = { plugin: script, 'token-file': credential('good') }
  const { server, ask, answer, kubeconfig } = await tryUser(t, { exec }, files)
  const runs = () =>
    readFileSync(join(dirname(kubeconfig), 'runs'), 'utf8')
      .trim()
      .split('\n')
  t.equal(answer, 'welcome')
  t.match(runs()[0], /^blue \{"apiVersion":"client.authentication.k8s.io\/v1".*"interactive":false/)
  t.strictSame([await ask(), await ask()], ['welcome', 'welcome'])
  t.equal(runs().length, 1, 'not once a request')
  server.setTokens(['better'])
  writeFileSync(
    join(dirname(kubeconfig), 'token-file'),
    credential('better', '2000-01-01T00:00:00Z'),
  )
  t.match(await ask(), /401/)
  t.equal(await ask(), 'welcome', 'after a 401 it is asked again')
  await ask()
  t.equal(runs().length, 3, 'and when they have expired')
  t.match(readdirSync(dirname(kubeconfig)), ['config', 'plugin', 'runs', 'token-file'])
})

t.test('an exec plugin that fails', async (t) => {
  const exec = { command: './plugin' }
  const script = '#!/bin/sh\necho "cannot log in" >&2\nexit 3\n'
  const { answer } = await tryUser(t, { exec }, { plugin: script })
  t.match(answer, /exec .\/plugin gave no credentials: cannot log in/)
})

t.test('a server whose certificate nobody has signed is not trusted', async (t) => {
  const { url } = await startApiServer(t)
  const kubeconfig = writeKubeconfig(t, { server: url })
  const refused = clientOf(await access(kubeconfig))
  t.teardown(() => {
    refused.close()
  })
  await t.rejects(refused.call({ path: '/api/v1/nodes', signal }), { code: 'ERR_API' })
  const cluster = { 'insecure-skip-tls-verify': true }
  const trusting = clientOf(await access(writeKubeconfig(t, { server: url, cluster })))
  t.teardown(() => {
    trusting.close()
  })
  t.match(await trusting.call({ path: '/api/v1/nodes', signal }), { kind: 'NodeList' })
})

t.test('a Pod: service account, environment, and --master in place of the latter', async (t) => {
  const { server, url, authority } = await startApiServer(t, { tokens: ['of-the-pod'] })
  server.put(node())
  server.put(service())
  const folder = mkdtempSync(join(tmpdir(), 'kube-sluice-account-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true })
  })
  writeFileSync(join(folder, 'token'), 'of-the-pod')
  writeFileSync(join(folder, 'ca.crt'), authority.cert)
  const { port } = new URL(url)
  const env = { KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: port }
  const inPod = { kubeconfig: undefined, serviceAccountFolder: folder }
  const { recorder } = await startSource(
    t,
    await clusterAccess({ ...inPod, env, master: undefined }),
  )
  await recorder.until('synced', () => recorder.isSynced)
  const env2 = { ...env, KUBERNETES_SERVICE_HOST: '10.96.0.1' }
  const given = await clusterAccess({ ...inPod, env: env2, master: url })
  t.equal(given.server.host, `127.0.0.1:${port}`)
  t.match(await given.credentials(), { headers: { Authorization: 'Bearer of-the-pod' } })
  // The kubelet writes another one before the first expires.
  writeFileSync(join(folder, 'token'), 'of-the-pod-later\n')
  t.match(await given.credentials(), { headers: { Authorization: 'Bearer of-the-pod-later' } })
  const env6 = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' }
  const over6 = await clusterAccess({ ...inPod, env: env6, master: undefined })
  t.equal(over6.server.href, 'https://[fd00::1]/')
  const bare = { kubeconfig: undefined, serviceAccountFolder: '/nowhere', env: {} }
  t.rejects(clusterAccess({ ...bare, master: undefined }), { code: 'ERR_CONFIG' })
  t.match(await (await clusterAccess({ ...bare, master: '10.0.0.1:8080' })).credentials(), {
    headers: {},
    ca: undefined,
  })
})

t.test('what is wrong with a kubeconfig is said in one line', async (t) => {
  const file = (parts: Partial<KubeconfigParts>) =>
    writeKubeconfig(t, { server: 'https://a', ...parts })
  const broken = file({})
  writeFileSync(broken, '{ current-context: x }')
  const unreadable = file({})
  writeFileSync(unreadable, '{ : :')
  for (const [kubeconfig, expected] of [
    ['/nowhere', /^kubeconfig \/nowhere: ENOENT/],
    [broken, /there is no context "x"/],
    [unreadable, /^kubeconfig [^ ]+: /],
    [file({ cluster: { server: '' } }), /clusters\[0\].cluster.server is missing/],
    [file({ cluster: { 'proxy-url': 'http://p' } }), /proxy-url .* is not supported/],
    [
      file({ user: { 'auth-provider': { name: 'gcp' } } }),
      /"gcp" is not known; use an exec plugin/,
    ],
    [file({ user: { exec: {} } }), /exec.command is missing/],
  ] as const) {
    await t.rejects(access(kubeconfig), { code: 'ERR_CONFIG', message: expected })
  }
})

t.test('of the client library only what is small is loaded', async (t) => {
  const module = fileURLToPath(
    new URL('../../../dist/source/kubernetes/cluster-access.js', import.meta.url),
  )
  const kubeconfig = writeKubeconfig(t, { server: 'https://a', user: { exec: { command: 'x' } } })
  const script = `
    const { clusterAccess } = await import(${JSON.stringify(module)})
    const before = process.memoryUsage.rss()
    await clusterAccess({ kubeconfig: ${JSON.stringify(kubeconfig)} })
    await (await import('@kubernetes/client-node/dist/exec_auth.js'))
    console.log((process.memoryUsage.rss() - before) / 1e6)`
  const root = fileURLToPath(new URL('../../..', import.meta.url))
  const args = ['--input-type=module', '-e', script]
  const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' })
  t.equal(stderr, '')
  t.ok(Number(stdout) < 25, `${stdout.trim()} MB; the whole library takes 75`)
})

t.test(
  'a token of OpenID Connect is used until it expires, and said not to be renewed',
  async (t) => {
    const tokenUntil = (seconds: number) =>
      `e30.${Buffer.from(JSON.stringify({ exp: seconds })).toString('base64url')}.x`
    const access = (config: object) => {
      const user = { 'auth-provider': { name: 'oidc', config } }
      const kubeconfig = writeKubeconfig(t, { server: 'https://127.0.0.1:1', user })
      return clusterAccess({ kubeconfig, master: undefined })
    }
    const valid = tokenUntil(Date.now() / 1000 + 3600)
    const { headers } = await (await access({ 'id-token': valid })).credentials()
    t.strictSame(headers, { Authorization: `Bearer ${valid}` })
    const expired = await access({ 'id-token': tokenUntil(1), 'refresh-token': 'more' })
    await t.rejects(expired.credentials(), {
      code: 'ERR_API',
      message:
        /^user proxy: the id-token .* has expired; it is not renewed here: use an exec plugin/,
    })
    for (const config of [{}, { 'id-token': 'garbage' }]) {
      await t.rejects(access(config), { code: 'ERR_CONFIG', message: /has no id-token/ })
    }
  },
)
