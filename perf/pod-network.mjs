/** The network of scenarios with one node: a client, the node, and pods that answer. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { podConfig } from './peers.mjs'
import { link, MANY_CONNECTIONS } from './place.mjs'

/**
 *   client 10.0.1.2 -- 10.0.1.1 node -- the pods: nginx at port 8080, iperf3 at 5201
 *
 * @param {readonly string[]} pods addresses `10.244.N.2`; the node has 10.244.N.1
 * @returns {Promise<{ client: string, node: string, pods: string[] }>} names of the namespaces
 */
export async function clientNodeAndPods({ namespaces, folder }, pods) {
  const client = await namespaces.add('client')
  const node = await namespaces.add('node')
  await namespaces.sysctl(client, MANY_CONNECTIONS)
  await namespaces.sysctl(node, { ...MANY_CONNECTIONS, 'net.ipv4.ip_forward': '1' })
  await link(namespaces, [client, 'eth0', '10.0.1.2/24'], [node, 'client', '10.0.1.1/24'])
  await namespaces.configure(client, ['route add default via 10.0.1.1'])
  await namespaces.configure(node, ['route add default via 10.0.1.2'])
  const podNames = []
  for (const [index, ip] of pods.entries()) {
    const name = `pod${index + 1}`
    const pod = await namespaces.add(name)
    podNames.push(pod)
    const gateway = ip.replace(/2$/, '1')
    await link(namespaces, [pod, 'eth0', `${ip}/24`], [node, name, `${gateway}/24`])
    await namespaces.configure(pod, [`route add default via ${gateway}`])
    const config = join(folder, `${name}.conf`)
    writeFileSync(config, podConfig(folder, name))
    namespaces.spawn(pod, ['nginx', '-c', config], { stdio: 'ignore' })
    namespaces.spawn(pod, ['iperf3', '-s', '-p', '5201'], { stdio: 'ignore' })
  }
  return { client, node, pods: podNames }
}
