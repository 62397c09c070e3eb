/** Objects as an API server sends them, of the size that they have in clusters: with ownership and managed fields. */

export function serviceObject(number) {
  const name = `service-${number}`
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      ...{ name, namespace: `team-${number % 100}`, uid: uid(number), resourceVersion: '1000000' },
      creationTimestamp: '2026-01-01T00:00:00Z',
      labels: { 'app.kubernetes.io/name': name, 'app.kubernetes.io/managed-by': 'Helm' },
      managedFields: managedFields('helm', ['f:metadata', 'f:spec']),
    },
    spec: {
      ...{ clusterIP: vip(number), clusterIPs: [vip(number)], ipFamilies: ['IPv4'] },
      ...{
        ipFamilyPolicy: 'SingleStack',
        internalTrafficPolicy: 'Cluster',
        sessionAffinity: 'None',
      },
      ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 8080 }],
      selector: { 'app.kubernetes.io/name': name },
      type: 'ClusterIP',
    },
    status: { loadBalancer: {} },
  }
}

/** The slice of a Service; `turn` gives one of its endpoints another address. */
export function sliceObject(number, endpoints, turn = 0) {
  const service = `service-${number}`
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      ...{
        name: `${service}-x7k2p`,
        generateName: `${service}-`,
        namespace: `team-${number % 100}`,
      },
      ...{ uid: uid(number + 1e6), resourceVersion: String(2_000_000 + turn) },
      creationTimestamp: '2026-01-01T00:00:00Z',
      labels: {
        'app.kubernetes.io/name': service,
        'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
        'kubernetes.io/service-name': service,
      },
      annotations: { 'endpoints.kubernetes.io/last-change-trigger-time': '2026-01-01T00:00:00Z' },
      ownerReferences: [
        { apiVersion: 'v1', kind: 'Service', name: service, uid: uid(number), controller: true },
      ],
      managedFields: managedFields('kube-controller-manager', ['f:addressType', 'f:endpoints']),
    },
    addressType: 'IPv4',
    endpoints: Array.from({ length: endpoints }, (_, index) =>
      endpoint(number * endpoints + index + (index === 0 ? turn * 7919 : 0)),
    ),
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  }
}

function endpoint(number) {
  return {
    addresses: [`10.${128 + ((number >> 16) & 63)}.${(number >> 8) & 255}.${number & 255}`],
    conditions: { ready: true, serving: true, terminating: false },
    nodeName: `node-${number % 5000}`,
    zone: `zone-${number % 3}`,
    targetRef: {
      ...{
        kind: 'Pod',
        namespace: 'team-1',
        name: `pod-7c9d8f6b5-${String(number).padStart(5, '0')}`,
      },
      uid: uid(number + 2e6),
    },
  }
}

function managedFields(manager, fields) {
  const names = ['f:labels', 'f:name', 'f:namespace', 'f:ownerReferences', 'f:ports', 'f:selector']
  const tree = Object.fromEntries([...fields, ...names].map((field) => [field, { '.': {} }]))
  return [
    { manager, operation: 'Update', apiVersion: 'v1', fieldsType: 'FieldsV1', fieldsV1: tree },
  ]
}

function vip(number) {
  return `10.96.${(number >> 8) & 255}.${number & 255}`
}

function uid(number) {
  return `00000000-0000-4000-8000-${number.toString(16).padStart(12, '0')}`
}
