/** Configuration of the peers, the pods' server, and the objects of our own proxy. */

/** nginx that answers `ok` at port 8080. @param {string} name of its pid file */
export function podConfig(folder, name) {
  return `daemon off; worker_processes 1; pid ${folder}/${name}.pid; error_log /dev/null;
events { worker_connections 4096; }
http { access_log off; server { listen 8080 backlog=4096; location / { return 200 "ok"; } } }
`
}

/** TCP mode, one thread, splice: short connections at port 8001, bulk at 8002. */
export function haproxyConfig(address, pods) {
  const servers = pods.map((pod, index) => `  server pod${index} ${pod}:8080`).join('\n')
  return `global
  nbthread 1
  maxconn 4000
defaults
  mode tcp
  timeout connect 1s
  timeout client 1h
  timeout server 1h
  option splice-auto
listen http
  bind ${address}:8001
  balance roundrobin
${servers}
listen bulk
  bind ${address}:8002
  server pod0 ${pods[0]}:5201
`
}

/** nginx's stream module, one worker: short connections at port 8011, bulk at 8012. @param {string} folder of its pid file */
export function nginxConfig(folder, address, pods) {
  const servers = pods.map((ip) => `server ${ip}:8080;`).join(' ')
  return `load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off; worker_processes 1; pid ${folder}/nginx.pid; error_log /dev/null;
worker_rlimit_nofile 20000;
events { worker_connections 10000; }
stream {
  upstream http { ${servers} }
  server { listen ${address}:8011 backlog=4096; proxy_connect_timeout 1s; proxy_pass http; }
  server { listen ${address}:8012; proxy_pass ${pods[0]}:5201; }
}
`
}

/** One nat rule of nftables that balances short connections (port 80), and one for bulk (5201). */
export function kernelRules(vip, pods) {
  const endpoints = pods.map((pod, index) => `${index} : ${pod} . 8080`).join(', ')
  return `table ip perf {
  chain prerouting {
    type nat hook prerouting priority dstnat
    ip daddr ${vip} tcp dport 80 dnat ip addr . port to numgen inc mod ${pods.length} map { ${endpoints} }
    ip daddr ${vip} tcp dport 5201 dnat to ${pods[0]}:5201
  }
}
`
}

/** First packets to the VIP go to queue 0, as iptables-restore reads it. */
export function queueRules(vip) {
  return `*mangle
-A PREROUTING -d ${vip}/32 -p tcp -m conntrack --ctstate NEW -j NFQUEUE --queue-num 0 --queue-bypass
COMMIT
`
}

export function slice(service, name, ips, port) {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: `${service}-${name}`, labels: { 'kubernetes.io/service-name': service } },
    addressType: 'IPv4',
    ports: [{ name, port, protocol: 'TCP' }],
    endpoints: ips.map((ip) => ({ addresses: [ip] })),
  }
}

export function service(name, clusterIP, ports) {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name },
    spec: { clusterIP, ports: Object.entries(ports).map(([name, port]) => ({ name, port })) },
  }
}

/** The Service that the load goes to: short connections at port 80, bulk at 5201. */
export function measuredService(vip, pods) {
  return [
    service('perf', vip, { http: 80, bulk: 5201 }),
    slice('perf', 'http', pods, 8080),
    slice('perf', 'bulk', pods.slice(0, 1), 5201),
  ]
}

export function listOf(items) {
  return JSON.stringify({ apiVersion: 'v1', kind: 'List', items })
}
