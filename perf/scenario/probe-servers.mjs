/**
 * What probes of each protocol are answered by in `perf -- probes`: nginx where it knows the protocol, and
 * for the protocols of a line or a packet a process of Node (this file, run on its own).
 */
import { execFileSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Protocol -> where it is answered. */
export const PORTS = {
  tcp: 8080,
  http: 8080,
  https: 8443,
  tls: 8443,
  http2: 8081,
  grpc: 8081,
  redis: 6379,
  smtp: 2525,
  mqtt: 1883,
  postgres: 5432,
  mysql: 3306,
  dns: 5353,
  udp: 5353,
}

const CHECK = 'grpc.health.v1.Health/Check'
/** One message of two bytes: status SERVING. */
const SERVING = Buffer.of(0, 0, 0, 0, 2, 8, 1)
const PATIENT = 'backlog=4096'

/** nginx's configuration; writes the files that it serves into the folder. */
export function nginxConfig(folder) {
  const [key, cert, root] = ['key.pem', 'cert.pem', 'root'].map((name) => join(folder, name))
  const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  const subject = ['-subj', '/CN=localhost', '-days', '30', '-keyout', key, '-out', cert]
  execFileSync('openssl', [...request, ...subject], { stdio: 'ignore' })
  mkdirSync(join(root, 'grpc.health.v1.Health'), { recursive: true })
  writeFileSync(join(root, CHECK), SERVING)
  return `daemon off; worker_processes 1; pid ${folder}/server.pid; error_log /dev/null; user root;
events { worker_connections 8192; }
http {
  access_log off;
  server { listen 8080 ${PATIENT}; location / { return 200 "ok"; } }
  server {
    listen 8443 ssl ${PATIENT}; ssl_certificate ${cert}; ssl_certificate_key ${key};
    location / { return 200 "ok"; }
  }
  server {
    listen 8081 http2 ${PATIENT}; root ${root};
    location /${CHECK} {
      default_type application/grpc; error_page 405 =200 $uri; add_trailer grpc-status 0;
    }
    location / { return 200 "ok"; }
  }
}
`
}

/** Starts the process of this file. */
export function startLineServers(namespaces, netns) {
  return namespaces.spawn(netns, [process.execPath, fileURLToPath(import.meta.url)], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
}

const greeting = Buffer.from(`\x34\0\0\0\x0a8.0.36\0${'x'.repeat(44)}`, 'latin1')
const denied = Buffer.from('\x11\0\0\x02\xff\x15\x04#28000denied', 'latin1')

/** Hello, if the server speaks first, and what it says to each piece that it gets. */
const LINES = {
  redis: ['', '+PONG\r\n'],
  smtp: ['220 hello\r\n', '250 hello\r\n'],
  mqtt: ['', Buffer.of(0x20, 2, 0, 0)],
  postgres: ['', Buffer.from('R\0\0\0\x08\0\0\0\x05', 'latin1')],
  mysql: [greeting, denied],
}

function serveLines(port, [hello, answer]) {
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.on('data', () => socket.write(answer))
    if (hello !== '') socket.write(hello)
  })
  server.listen({ host: '0.0.0.0', port, backlog: 4096 })
}

/** The question back, as an answer without any record. */
function serveDatagrams(port) {
  const socket = createSocket('udp4')
  socket.on('message', (query, { port, address }) => {
    if (query.length > 2) query.writeUInt16BE(0x8180, 2)
    socket.send(query, port, address)
  })
  socket.bind(port)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [name, lines] of Object.entries(LINES)) serveLines(PORTS[name], lines)
  serveDatagrams(PORTS.dns)
}
