/** Probes against the servers that people run: nginx, dnsmasq, exim and mosquitto as Debian has them. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { HealthCheck } from '../../../../src/policy/health/health-check.js'
import { probeStarter } from '../../../../src/policy/health/probe/start-probe.js'
import { certificate } from '../../../fixtures/certificate.js'
import { probe } from '../../../fixtures/health.js'
import { inNamespace } from '../../../fixtures/in-namespace.js'
import {
  hold,
  liveAndDie,
  serverFolder,
  skipWithout,
  startServer,
  untilReason,
} from '../../../fixtures/real-server.js'

const ip = '127.0.0.1'
const start = probeStarter()

const asker =
  (port: number, check: Partial<HealthCheck>, protocol: 'TCP' | 'UDP' = 'TCP') =>
  (timeoutMs = 5000) =>
    probe(start, { ip, port, protocol, check }, timeoutMs)

const NGINX = (folder: string) => `
daemon off; master_process off; pid ${folder}/pid; error_log stderr;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi; uwsgi_temp_path ${folder}/uwsgi; scgi_temp_path ${folder}/scgi;
  ssl_certificate ${folder}/cert.pem; ssl_certificate_key ${folder}/key.pem;
  server {
    listen ${ip}:8080; listen ${ip}:8443 ssl; listen ${ip}:8082 http2;
    server_name localhost;
    location = /healthz { default_type text/plain; return 200 "all is well"; }
    location = /moved { return 301 /healthz; }
    location = /busy { return 503; }
    location / { return 404; }
  }
  server { listen ${ip}:8080; server_name only.test; location / { return 204; } }
}`

function nginxFolder(t: Test): string {
  const { key, cert } = certificate(3)
  const folder = serverFolder(t, { 'key.pem': key.toString(), 'cert.pem': cert.toString() })
  writeFileSync(join(folder, 'nginx.conf'), NGINX(folder))
  return folder
}

if (inNamespace(t, import.meta.url)) {
  t.test('nginx: http, https, http2, tls', { skip: skipWithout('nginx') }, async (t) => {
    const folder = nginxFolder(t)
    const server = startServer(t, 'nginx', ['-e', 'stderr', '-c', join(folder, 'nginx.conf')])
    const path = '/healthz'
    await untilReason(asker(8080, { type: 'http', path }), /200/)
    for (const [port, type] of [
      [8080, 'http'],
      [8443, 'https'],
      [8082, 'http2'],
    ] as const) {
      const ask = (over: Partial<HealthCheck>) => asker(port, { type, path, ...over })()
      const isWell = (text: string) => ask({ expectBytes: Buffer.from(text) })
      t.match(await ask({}), { isHealthy: true, reason: 'HTTP 200' }, type)
      t.match(await ask({ path: '/moved' }), { isHealthy: true, reason: 'HTTP 301' }, type)
      t.match(await ask({ path: '/busy' }), { isHealthy: false, reason: 'HTTP 503' }, type)
      t.match(await ask({ path: '/' }), { isHealthy: false, reason: 'HTTP 404' }, type)
      t.match(await isWell('is well'), { isHealthy: true }, type)
      t.match(await isWell('is ill'), { isHealthy: false, reason: /expected text/ }, type)
    }
    const named = { type: 'http', host: 'only.test', path: '/anything' } as const
    t.match(await asker(8080, named)(), { isHealthy: true, reason: 'HTTP 204' }, 'virtual host')
    t.match(await asker(8080, { type: 'http2' })(), { isHealthy: false }, 'http2 on HTTP/1')
    t.match(await asker(8080, { type: 'tls' })(), { isHealthy: false }, 'tls on a plain port')
    const late = { type: 'tls', host: 'localhost', expiryWarningMs: 7 * 24 * 3_600_000 } as const
    t.match(await asker(8443, late)(), { isHealthy: true, warning: /certificate/ })
    await liveAndDie(t, {
      server,
      ask: asker(8443, { type: 'tls', host: 'localhost' }),
      up: /TLS/,
      wants: 'TLS handshake',
    })
    for (const [port, type] of [
      [8080, 'http'],
      [8443, 'https'],
      [8082, 'http2'],
    ] as const) {
      const result = await asker(port, { type, path })()
      t.match(result, { isHealthy: false, reason: 'connection refused' }, type)
    }
  })

  t.test('dnsmasq: dns over UDP and TCP', { skip: skipWithout('dnsmasq') }, async (t) => {
    const run = () =>
      startServer(t, 'dnsmasq', [
        '--keep-in-foreground',
        '--conf-file=/dev/null',
        '--port=5300',
        `--listen-address=${ip}`,
        '--bind-interfaces',
        '--no-resolv',
        '--no-hosts',
        '--pid-file',
        '--log-facility=-',
        '--address=/web.test/192.0.2.7',
        '--local=/test/',
      ])
    const query = { name: 'web.test', type: 'A' }
    for (const protocol of ['UDP', 'TCP'] as const) {
      const server = run()
      const ask = (check: Partial<HealthCheck>) => asker(5300, { type: 'dns', ...check }, protocol)
      await untilReason(ask({}), /REFUSED|NOERROR/)
      t.match(await ask({})(), { isHealthy: true }, `${protocol}: it need not know the root`)
      t.match(await ask({ query, expectAnswer: '192.0.2.7' })(), { isHealthy: true })
      t.match(await ask({ query, expectAnswer: '192.0.2.8' })(), {
        isHealthy: false,
        reason: /192/,
      })
      const none = { name: 'none.test', type: 'A' }
      t.match(await ask({ query: none })(), { isHealthy: false, reason: 'NXDOMAIN' })
      t.match(await ask({ query: none, expectAnswer: 'NXDOMAIN' })(), { isHealthy: true })
      const killed = protocol === 'UDP' ? /^port unreachable$/ : /^connection refused$/
      const up = /NOERROR 192/
      await liveAndDie(t, { server, ask: ask({ query }), up, wants: 'DNS answer', killed })
    }
  })

  t.test('exim: smtp', { skip: skipWithout('exim4') }, async (t) => {
    const folder = serverFolder(t)
    const configuration = `
      primary_hostname = mail.test
      spool_directory = ${folder}
      log_file_path = ${folder}/%slog
      smtp_accept_max = 1
      local_interfaces = ${ip}.2525
      host_lookup =
      rfc1413_query_timeout = 0s
      keep_environment =
      tls_advertise_hosts =
      begin acl
      begin routers
      begin transports
    `
    writeFileSync(join(folder, 'exim.conf'), configuration, { mode: 0o644 })
    const args = ['-C', join(folder, 'exim.conf'), '-bdf', '-oP', join(folder, 'pid')]
    const server = startServer(t, 'exim4', args, { asRoot: true })
    const ask = asker(2525, { type: 'smtp', host: 'probe.test' })
    t.match(await untilReason(ask, /^250/), { isHealthy: true }, server.log())
    await t.test('too many connections', async (t) => {
      // The connection of the probe before may still be counted.
      for (let tries = 0; tries < 50; tries++) {
        if ((await hold(t, ip, 2525)).startsWith('220')) break
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      const full = await untilReason(ask, /^421/)
      t.match(full, { isHealthy: false, reason: /^421 .*[Tt]oo many/ })
    })
    await liveAndDie(t, { server, ask, up: /^250 /, wants: 'SMTP reply' })
  })

  t.test('mosquitto: mqtt', { skip: skipWithout('mosquitto') }, async (t) => {
    for (const [port, anonymous, up] of [
      [1883, true, /^accepted$/],
      [1884, false, /^not authorized$/],
    ] as const) {
      const lines = `listener ${port} ${ip}\nallow_anonymous ${anonymous}\n`
      const folder = serverFolder(t, { 'mosquitto.conf': lines })
      const server = startServer(t, 'mosquitto', ['-c', join(folder, 'mosquitto.conf')])
      const ask = asker(port, { type: 'mqtt' })
      t.match(await untilReason(ask, up), { isHealthy: true, reason: up }, server.log())
      await liveAndDie(t, { server, ask, up, wants: 'CONNACK' })
    }
  })
}
