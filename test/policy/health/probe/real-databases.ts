/** Probes against redis, PostgreSQL and MariaDB as Debian has them, in each state that they can tell. */
import { once } from 'node:events'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { ProbeType } from '../../../../src/policy/health/health-check.js'
import { startupMessage } from '../../../../src/policy/health/probe/postgres.js'
import { probeStarter } from '../../../../src/policy/health/probe/start-probe.js'
import { probe } from '../../../fixtures/health.js'
import { inNamespace, tool } from '../../../fixtures/in-namespace.js'
import {
  hold,
  liveAndDie,
  prepare,
  type RealServer,
  serverFolder,
  skipWithout,
  startServer,
  untilReason,
} from '../../../fixtures/real-server.js'

const ip = '127.0.0.1'
/** MariaDB blocks no host that comes from loopback, and none without a name. */
const OUTSIDE = '192.0.2.1'
const MAX_CONNECT_ERRORS = 3
const start = probeStarter()

const asker =
  (type: ProbeType, port: number, host = ip) =>
  (timeoutMs = 5000) =>
    probe(start, { ip: host, port, check: { type } }, timeoutMs)

/** Sends a line of redis and waits for an answer. */
async function redis(port: number, line: string): Promise<string> {
  const socket = connect({ host: ip, port })
  socket.write(`${line}\r\n`)
  const [answer] = (await once(socket, 'data')) as [Buffer]
  socket.destroy()
  return answer.toString()
}

function redisServer(t: Test, folder: string, port: number, ...more: string[]): RealServer {
  const own = ['--bind', ip, '--port', `${port}`, '--dir', folder, '--save', '']
  return startServer(t, 'redis-server', [...own, ...more])
}

async function testRedis(t: Test): Promise<void> {
  const folder = serverFolder(t)
  await t.test('lives and dies, and may want a password', async (t) => {
    for (const [port, more, up] of [
      [6379, ['--enable-debug-command', 'local'], /^PONG$/],
      [6380, ['--requirepass', 'secret'], /^NOAUTH/],
    ] as const) {
      const server = redisServer(t, folder, port, ...more)
      const ask = asker('redis', port)
      if (port === 6379) {
        await untilReason(ask, up)
        await redis(port, 'DEBUG POPULATE 20000 key 100')
        t.match(await redis(port, 'SAVE'), /OK/)
      }
      await liveAndDie(t, { server, ask, up, wants: 'answer to PING' })
    }
  })
  await t.test('loads its data', async (t) => {
    const slow = ['--key-load-delay', '500', '--loading-process-events-interval-bytes', '1024']
    redisServer(t, folder, 6379, ...slow)
    const result = await untilReason(asker('redis', 6379), /LOADING/)
    t.match(result, { isHealthy: false, reason: /^LOADING / })
  })
  await t.test('has lost its master', async (t) => {
    const replica = ['--replicaof', ip, '1', '--replica-serve-stale-data', 'no']
    redisServer(t, serverFolder(t), 6381, ...replica)
    const result = await untilReason(asker('redis', 6381), /MASTERDOWN/)
    t.match(result, { isHealthy: false, reason: /^MASTERDOWN / })
  })
  await t.test('has no connection to spare', async (t) => {
    redisServer(t, serverFolder(t), 6382, '--maxclients', '1')
    const ask = asker('redis', 6382)
    await untilReason(ask, /PONG/)
    // The first may be refused, for the probe's own connection is just ending.
    for (let held = 0; held < 3; held++) await hold(t, ip, 6382, Buffer.from('PING\r\n'))
    t.match(await ask(), { isHealthy: false, reason: /max number of clients/ })
  })
}

function postgresServer(t: Test, data: string, port: number, ...settings: string[]): RealServer {
  const own = [`listen_addresses=${ip}`, `port=${port}`, 'fsync=off', 'shared_buffers=1MB']
  const all = [...own, 'unix_socket_directories=', 'max_wal_senders=0', ...settings]
  return startServer(t, 'postgres', ['-D', data, ...all.flatMap((one) => ['-c', one])])
}

async function testPostgres(t: Test): Promise<void> {
  const data = join(serverFolder(t), 'data')
  prepare('initdb', ['-D', data, '-A', 'trust', '-N', '-U', 'postgres', '--no-instructions'])
  const access = (rule: string) => {
    writeFileSync(join(data, 'pg_hba.conf'), `${rule}\n`)
  }
  const ask = asker('postgres', 5432)
  const wants = 'answer to the start-up message'
  for (const [rule, up] of [
    ['host all all all trust', /^logged in$/],
    ['host all all all scram-sha-256', /^asks for a password$/],
    ['host all all all reject', /^28000 pg_hba\.conf rejects/],
  ] as const) {
    await t.test(rule, async (t) => {
      access(rule)
      await liveAndDie(t, { server: postgresServer(t, data, 5432), ask, up, wants })
    })
  }
  access('host all all all trust')
  await t.test('has no connection to spare', async (t) => {
    const few = ['max_connections=2', 'superuser_reserved_connections=0']
    const server = postgresServer(t, data, 5432, ...few)
    t.match(await untilReason(ask, /logged in/), { isHealthy: true }, server.log())
    for (let held = 0; held < 2; held++) await hold(t, ip, 5432, startupMessage('postgres'))
    t.match(await untilReason(ask, /^53300/), { isHealthy: false, reason: /^53300 .*too many/ })
    await server.kill()
  })
  await t.test('starts up, and takes nobody yet', async (t) => {
    writeFileSync(join(data, 'standby.signal'), '')
    postgresServer(t, data, 5432, 'hot_standby=off', 'restore_command=/bin/false')
    t.match(await untilReason(ask, /^57P03/), { isHealthy: false, reason: /^57P03 / })
  })
}

const MARIADB = ['--no-defaults', '--innodb-log-file-size=4M', '--innodb-buffer-pool-size=8M']

/** An account that may come from anywhere: else a host is refused before it can say who it is. */
const ANYBODY = {
  plugin: 'mysql_native_password',
  authentication_string: '*6BB4837EB74329105EE4568DDA7DC67ED2CA2AD9',
}

function mariadbServer(t: Test, folder: string): RealServer {
  const args = [
    ...MARIADB,
    `--datadir=${join(folder, 'data')}`,
    '--bind-address=0.0.0.0',
    '--port=3306',
    `--socket=${join(folder, 'socket')}`,
    `--pid-file=${join(folder, 'pid')}`,
    '--max-connections=10',
    `--max-connect-errors=${MAX_CONNECT_ERRORS}`,
  ]
  return startServer(t, 'mariadbd', args, {
    hosts: `127.0.0.1 localhost\n${OUTSIDE} outside.test\n`,
  })
}

async function testMariadb(t: Test): Promise<void> {
  const folder = serverFolder(t)
  const data = join(folder, 'data')
  mkdirSync(data)
  chmodSync(data, 0o777)
  const tables = readFileSync('/usr/share/mysql/mysql_system_tables.sql', 'utf8')
  const anybody = `insert into global_priv values ('%', 'anybody', '${JSON.stringify(ANYBODY)}');\n`
  const options = [...MARIADB, `--datadir=${data}`, '--bootstrap']
  prepare('mariadbd', options, `create database mysql;\nuse mysql;\n${tables}\n${anybody}`)
  const server = mariadbServer(t, folder)
  const ask = asker('mysql', 3306)
  const up = /^1\d\.\d+\.\d+-MariaDB\S* 1045 /
  t.match(await untilReason(ask, up), { isHealthy: true, reason: up }, server.log())
  await t.test(
    'blocks a host that hangs up before it logs in, and never that of the probe',
    async (t) => {
      const outside = asker('mysql', 3306, OUTSIDE)
      for (let asked = 0; asked < 2 * MAX_CONNECT_ERRORS; asked++) {
        t.match(await outside(), { isHealthy: true, reason: up })
      }
      for (let hung = 0; hung < 2 * MAX_CONNECT_ERRORS; hung++) await hangUp(OUTSIDE, 3306)
      t.match(await untilReason(outside, /^1129/), { isHealthy: false, reason: /^1129 .*blocked/ })
      t.match(await ask(), { isHealthy: true, reason: up }, 'loopback is not')
    },
  )
  await t.test('has no connection to spare', async (t) => {
    // One more than it is told to take, for an administrator.
    for (let held = 0; held < 11; held++) await hold(t, ip, 3306)
    t.match(await untilReason(ask, /^1040/), {
      isHealthy: false,
      reason: '1040 Too many connections',
    })
  })
  await liveAndDie(t, { server, ask, up, wants: 'MySQL packet' })
}

/** Connects, waits for a greeting, and is gone. */
async function hangUp(host: string, port: number): Promise<void> {
  const socket = connect({ host, port })
  await once(socket, 'data')
  socket.destroy()
}

if (inNamespace(t, import.meta.url)) {
  tool('ip', ['address', 'add', OUTSIDE, 'dev', 'lo'])
  t.test('redis', { skip: skipWithout('redis-server') }, testRedis)
  t.test('PostgreSQL', { skip: skipWithout('postgres', 'initdb') }, testPostgres)
  t.test('MariaDB', { skip: skipWithout('mariadbd') }, testMariadb)
}
