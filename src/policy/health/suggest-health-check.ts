/**
 * Which protocol a Service port speaks, by its appProtocol or its name. appProtocol has the
 * IANA names and those of KEP-3726 (`kubernetes.io/h2c`, `/ws`, `/wss`); a port's name counts when it is
 * `PROTOCOL` or `PROTOCOL-anything`, as the service meshes have it.
 */
import type { ServicePort } from '../../model/service-port.js'
import type { HealthCheckType } from './health-check.js'

const BY_NAME: ReadonlyMap<string, HealthCheckType> = new Map<string, HealthCheckType>([
  ['http', 'http'],
  ['http1', 'http'],
  ['kubernetes.io/ws', 'tcp'],
  ['ws', 'tcp'],
  ['https', 'https'],
  ['kubernetes.io/wss', 'tls'],
  ['wss', 'tls'],
  ['kubernetes.io/h2c', 'http2'],
  ['h2c', 'http2'],
  ['http2', 'http2'],
  ['grpc', 'grpc'],
  ['tls', 'tls'],
  ['dns', 'dns'],
  ['domain', 'dns'],
  ['redis', 'redis'],
  ['postgres', 'postgres'],
  ['postgresql', 'postgres'],
  ['mysql', 'mysql'],
  ['mqtt', 'mqtt'],
  ['smtp', 'smtp'],
  ['submission', 'smtp'],
])

/** The check that fits; a connect where nothing is known of TCP, and for other protocols nothing. */
export function suggestHealthCheck(
  port: Pick<ServicePort, 'appProtocol' | 'portName' | 'protocol'>,
): HealthCheckType {
  const { appProtocol, portName, protocol } = port
  const named =
    BY_NAME.get(appProtocol?.toLowerCase() ?? '') ??
    BY_NAME.get(portName) ??
    BY_NAME.get(portName.split('-', 1)[0] ?? '')
  if (protocol === 'TCP') return named ?? 'tcp'
  return protocol === 'UDP' && named === 'dns' ? 'dns' : 'passive'
}
