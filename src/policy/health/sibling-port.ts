/** The number of another port of the same Service, at the same endpoint, by the port's name. */
import type { Endpoint } from '../../model/endpoint.js'
import type { ServicePort } from '../../model/service-port.js'
import { servicePortName } from '../../model/service-port.js'
import type { Snapshot } from '../../model/snapshot.js'

/** TCP before UDP, when both have the name; undefined when neither has, or not at this endpoint. */
export function siblingPort(
  snapshot: Snapshot | undefined,
  servicePort: ServicePort,
  portName: string,
  endpoint: Endpoint,
): number | undefined {
  const name = servicePortName({ ...servicePort, portName })
  for (const protocol of ['TCP', 'UDP', 'SCTP']) {
    const id = `${name}/${protocol}/${servicePort.ipFamily}`
    const sibling = snapshot?.servicePorts.get(id)?.endpoints.find(({ ip }) => ip === endpoint.ip)
    if (sibling !== undefined) return sibling.port
  }
  return undefined
}
