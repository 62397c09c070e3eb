// What each contender is configured with: the same Service. Port 80 of the VIP goes to the three
// pods in turn, port 5201 to the first pod only (one iperf3 test is several connections to one server).
import { HTTP_PORT, IPERF_PORT } from './ports.mjs'

/** @typedef {import('./testbed.mjs').Lane} Lane */

/**
 * One rule a port; the kernel draws the endpoint, conntrack does the rest. What kube-proxy's
 * nftables mode comes to for one Service, with round-robin in place of random.
 *
 * @param {Lane} lane
 */
export function nftRules({ vip, pods }) {
  const slots = pods.map((pod, slot) => `${slot} : ${pod}`).join(', ')
  return `table ip perf {
  chain prerouting {
    type nat hook prerouting priority -100
    ip daddr ${vip} tcp dport ${HTTP_PORT} dnat to numgen inc mod ${pods.length} map { ${slots} }
    ip daddr ${vip} tcp dport ${IPERF_PORT} dnat to ${pods[0]}
  }
}
`
}

/**
 * TCP mode, one thread as kube-sluice has one, splice(2) in both directions.
 *
 * @param {Lane} lane
 */
export function haproxyConfig({ vip, pods }) {
  const servers = pods.map((pod, index) => `  server pod${index + 1} ${pod}:${HTTP_PORT}`)
  return `global
  nbthread 1
  maxconn 4096
defaults
  mode tcp
  balance roundrobin
  option splice-request
  option splice-response
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen http
  bind ${vip}:${HTTP_PORT} backlog 4096
${servers.join('\n')}
listen iperf
  bind ${vip}:${IPERF_PORT} backlog 4096
  server pod1 ${pods[0]}:${IPERF_PORT}
`
}

/**
 * nginx stream, one worker.
 *
 * @param {Lane} lane
 * @param {string} folder of its own
 */
export function nginxStreamConfig({ vip, pods }, folder) {
  const servers = pods.map((pod) => `    server ${pod}:${HTTP_PORT};`)
  return `load_module /usr/lib/nginx/modules/ngx_stream_module.so;
user root;
daemon off;
worker_processes 1;
pid ${folder}/nginx.pid;
error_log stderr;
events { worker_connections 8192; }
stream {
  upstream http {
${servers.join('\n')}
  }
  server { listen ${vip}:${HTTP_PORT} backlog=4096; proxy_pass http; }
  server { listen ${vip}:${IPERF_PORT} backlog=4096; proxy_pass ${pods[0]}:${IPERF_PORT}; }
}
`
}

/**
 * The HTTP server of a pod: two bytes from memory, and it closes first, as most servers do.
 *
 * @param {string} folder of its own
 */
export function nginxHttpConfig(folder) {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  return `user root;
daemon off;
worker_processes 1;
pid ${folder}/nginx.pid;
error_log stderr;
events { worker_connections 8192; }
http {
  access_log off;
${temporary.map((name) => `  ${name}_temp_path ${folder}/${name};`).join('\n')}
  server {
    listen ${HTTP_PORT} backlog=4096;
    location / { return 200 "ok"; }
  }
}
`
}

/**
 * The same as Kubernetes objects.
 *
 * @param {Lane} lane
 */
export function manifests({ vip, pods }) {
  return [service('http', vip, HTTP_PORT), slice('http', pods, HTTP_PORT)]
    .concat(service('iperf', vip, IPERF_PORT), slice('iperf', pods.slice(0, 1), IPERF_PORT))
    .join('---\n')
}

/** @type {(name: string, vip: string, port: number) => string} */
function service(name, vip, port) {
  return `apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: perf }
spec:
  type: ClusterIP
  clusterIP: ${vip}
  clusterIPs: [${vip}]
  ipFamilies: [IPv4]
  ports: [{ name: ${name}, protocol: TCP, port: ${port}, targetPort: ${port} }]
`
}

/** @type {(name: string, pods: readonly string[], port: number) => string} */
function slice(name, pods, port) {
  return `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: ${name}, namespace: perf, labels: { kubernetes.io/service-name: ${name} } }
addressType: IPv4
ports: [{ name: ${name}, protocol: TCP, port: ${port} }]
endpoints:
${pods.map((pod) => `  - { addresses: [${pod}], conditions: { ready: true } }\n`).join('')}`
}
