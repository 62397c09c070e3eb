/**
 * A v1 Service as the Service ports of one IP family. Pure and total: any object gives a result,
 * what could not be used is listed as a problem and hurts only its own field, port or Service.
 * Source of the rules: kube-proxy pkg/proxy/serviceport.go, pkg/proxy/util/utils.go.
 */
import type { V1Service, V1ServicePort, V1ServiceSpec } from '@kubernetes/client-node'
import type { IpFamily } from '../lib/ip-address.js'
import {
  hasKey,
  reportingFor,
  isObjectName,
  isPort,
  itemsOf,
  quote,
  textOf,
  type ObjectIdentity,
  type ReportField,
} from './object-fields.js'
import {
  clusterIpOf,
  externalIpsOf,
  loadBalancerVipsOf,
  sourceRangesOf,
} from './service-addresses.js'
import { servicePortName, type Protocol, type ServicePort } from './service-port.js'
import type { ObjectProblem } from './snapshot.js'

export interface TranslatedService {
  /** In the order of spec.ports; empty when the Service is not ours to serve in this family. */
  readonly servicePorts: readonly ServicePort[]
  readonly problems: readonly ObjectProblem[]
}

/** A Service with this label, whatever its value, belongs to another proxy (KEP-2447). */
export const SERVICE_PROXY_NAME_LABEL = 'service.kubernetes.io/service-proxy-name'
/** Prefix of the annotations that ServicePort.annotations holds, without it. */
export const ANNOTATION_PREFIX = 'kube-sluice.io/'
/** API default of sessionAffinityConfig.clientIP.timeoutSeconds. */
export const DEFAULT_AFFINITY_TIMEOUT_SECONDS = 10_800
const MAX_AFFINITY_TIMEOUT_SECONDS = 86_400

/** One object for "none": most Services have none. */
const NO_ANNOTATIONS: Readonly<Record<string, string>> = {}

/** What all ports of a Service have in common. */
type ServicePart = Omit<
  ServicePort,
  'id' | 'portName' | 'protocol' | 'appProtocol' | 'port' | 'nodePort'
>

/**
 * Translates a Service for one family. Not served, without a problem: no cluster IP, `None`,
 * ExternalName, the service-proxy-name label, no cluster IP of this family. The headless label
 * says nothing on a Service: it is a label of EndpointSlices.
 */
export function translateService(service: V1Service, family: IpFamily): TranslatedService {
  const { identity, problems, report } = reportingFor('Service', service.metadata)
  if (identity === undefined) {
    report('metadata.name', 'the name or the namespace is not a DNS name; the Service is ignored')
    return { servicePorts: [], problems }
  }
  const { spec } = service
  const isServed = spec !== undefined && !isSkipped(service)
  const common = isServed ? servicePartOf(service, spec, { identity, family, report }) : undefined
  if (common === undefined) return { servicePorts: [], problems }
  return { servicePorts: servicePortsOf(spec?.ports, common, report), problems }
}

/** kube-proxy's ShouldSkipService, and its watch filter on the label. */
function isSkipped(service: V1Service): boolean {
  const clusterIp = textOf(service.spec?.clusterIP)
  return (
    clusterIp === undefined ||
    clusterIp === 'None' ||
    service.spec?.type === 'ExternalName' ||
    hasKey(service.metadata?.labels, SERVICE_PROXY_NAME_LABEL)
  )
}

function servicePartOf(
  service: V1Service,
  spec: V1ServiceSpec,
  { identity, family, report }: { identity: ObjectIdentity; family: IpFamily; report: ReportField },
): ServicePart | undefined {
  const clusterIp = clusterIpOf(spec, family, report)
  if (clusterIp === undefined) return undefined
  const externalPolicyLocal =
    isPolicyLocal('externalTrafficPolicy', spec.externalTrafficPolicy, report) && isExternal(spec)
  return {
    ...identity,
    ipFamily: family,
    clusterIp,
    externalIps: externalIpsOf(spec, family, report),
    loadBalancerVips: loadBalancerVipsOf(service, family, report),
    loadBalancerSourceRanges: sourceRangesOf(spec, family, report),
    affinityTimeoutSeconds: affinityTimeoutOf(spec, report),
    internalPolicyLocal: isPolicyLocal('internalTrafficPolicy', spec.internalTrafficPolicy, report),
    externalPolicyLocal,
    healthCheckNodePort: healthCheckNodePortOf(spec, externalPolicyLocal, report),
    annotations: annotationsOf(service),
  }
}

/** Service level, so by its type and what was asked for (k8s.io/kubernetes/pkg/api/v1/service ExternallyAccessible). */
function isExternal(spec: V1ServiceSpec): boolean {
  const type = spec.type ?? 'ClusterIP'
  return (
    type === 'LoadBalancer' ||
    type === 'NodePort' ||
    (type === 'ClusterIP' && itemsOf(spec.externalIPs).length > 0)
  )
}

function isPolicyLocal(field: string, policy: string | undefined, report: ReportField): boolean {
  const value = textOf(policy)
  if (value !== undefined && value !== 'Cluster' && value !== 'Local') {
    report(`spec.${field}`, `${quote(value)} is neither Cluster nor Local; Cluster is used`)
  }
  return value === 'Local'
}

function affinityTimeoutOf(spec: V1ServiceSpec, report: ReportField): number | undefined {
  const affinity = textOf(spec.sessionAffinity) ?? 'None'
  if (affinity !== 'ClientIP') {
    if (affinity !== 'None') {
      report(
        'spec.sessionAffinity',
        `${quote(affinity)} is neither ClientIP nor None; None is used`,
      )
    }
    return undefined
  }
  const seconds = spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? undefined
  if (seconds === undefined) return DEFAULT_AFFINITY_TIMEOUT_SECONDS
  if (Number.isInteger(seconds) && seconds >= 1 && seconds <= MAX_AFFINITY_TIMEOUT_SECONDS) {
    return seconds
  }
  report(
    'spec.sessionAffinityConfig.clientIP.timeoutSeconds',
    `${quote(seconds)} is not an integer from 1 to ${MAX_AFFINITY_TIMEOUT_SECONDS}; ` +
      `${DEFAULT_AFFINITY_TIMEOUT_SECONDS} is used`,
  )
  return DEFAULT_AFFINITY_TIMEOUT_SECONDS
}

function healthCheckNodePortOf(
  spec: V1ServiceSpec,
  externalPolicyLocal: boolean,
  report: ReportField,
): number | undefined {
  if (spec.type !== 'LoadBalancer' || !externalPolicyLocal) return undefined
  if (isPort(spec.healthCheckNodePort)) return spec.healthCheckNodePort
  report(
    'spec.healthCheckNodePort',
    'is not set to a port although externalTrafficPolicy is Local; load balancers cannot check this node',
  )
  return undefined
}

function annotationsOf(service: V1Service): Readonly<Record<string, string>> {
  const ours = Object.entries(service.metadata?.annotations ?? {}).filter(
    ([key, value]) => key.startsWith(ANNOTATION_PREFIX) && typeof value === 'string',
  )
  if (ours.length === 0) return NO_ANNOTATIONS
  return Object.fromEntries(
    ours.map(([key, value]) => [key.slice(ANNOTATION_PREFIX.length), value]),
  )
}

function servicePortsOf(
  ports: readonly V1ServicePort[] | undefined,
  common: ServicePart,
  report: ReportField,
): ServicePort[] {
  const byId = new Map<string, ServicePort>()
  for (const [index, port] of itemsOf(ports)) {
    const translated = servicePortOf(port, common, (field, message) => {
      report(`spec.ports[${index}]${field}`, message)
    })
    if (translated === undefined) continue
    if (byId.has(translated.id)) {
      report(
        `spec.ports[${index}]`,
        `repeats the name and protocol of an earlier port (${quote(translated.portName)}, ` +
          `${translated.protocol}); left out`,
      )
    } else {
      byId.set(translated.id, translated)
    }
  }
  return [...byId.values()]
}

function servicePortOf(
  port: V1ServicePort,
  common: ServicePart,
  report: ReportField,
): ServicePort | undefined {
  const portName = textOf(port.name) ?? ''
  const protocol = protocolOf(port.protocol)
  if (portName !== '' && !isObjectName(portName)) {
    report('.name', `${quote(portName)} is not a DNS label; the port is left out`)
    return undefined
  }
  if (protocol === undefined) {
    report('.protocol', `${quote(port.protocol)} is not TCP, UDP or SCTP; the port is left out`)
    return undefined
  }
  if (!isPort(port.port)) {
    report('.port', `must be an integer from 1 to 65535, is ${quote(port.port)}; left out`)
    return undefined
  }
  const name = servicePortName({ ...common, portName })
  return {
    id: `${name}/${protocol}/${common.ipFamily}`,
    ...common,
    portName,
    protocol,
    appProtocol: textOf(port.appProtocol),
    port: port.port,
    nodePort: nodePortOf(port, report),
  }
}

function nodePortOf(
  { nodePort }: { readonly nodePort?: unknown },
  report: ReportField,
): number | undefined {
  if (isPort(nodePort)) return nodePort
  // 0 is the wire form of "none"
  if (nodePort !== undefined && nodePort !== null && nodePort !== 0) {
    report('.nodePort', `must be an integer from 1 to 65535, is ${quote(nodePort)}; left out`)
  }
  return undefined
}

/** The protocol of a Service port or slice port: TCP when absent; undefined when it is none we know. */
export function protocolOf(protocol: string | undefined): Protocol | undefined {
  const value = protocol ?? 'TCP'
  return value === 'TCP' || value === 'UDP' || value === 'SCTP' ? value : undefined
}
