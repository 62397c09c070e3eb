/** What deploy/ holds is valid for Kubernetes, and for this program. */
import { execFileSync, spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { parse, parseAllDocuments, stringify } from 'yaml'

import { loadRun } from '../../src/config/load.js'
import { renderTemplate } from '../fixtures/helm-template.js'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'

const DEPLOY = fileURLToPath(new URL('../../deploy/', import.meta.url))
const load = createRequire(import.meta.url)

interface KubernetesObject {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string }
  readonly spec?: { template?: { spec?: PodSpec } } & PodSpec
  readonly data?: Readonly<Record<string, string>>
  readonly rules?: readonly { resources: string[]; verbs: string[] }[]
}

interface PodSpec {
  readonly hostNetwork?: boolean
  readonly serviceAccountName?: string
  readonly containers?: readonly Container[]
  readonly volumes?: readonly Record<string, unknown>[]
}

interface Container {
  readonly image: string
  readonly command?: string[]
  readonly args: string[]
  readonly securityContext: {
    readonly privileged: boolean
    readonly allowPrivilegeEscalation: boolean
    readonly readOnlyRootFilesystem: boolean
    readonly capabilities: { readonly drop: string[]; readonly add: string[] }
  }
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[]
}

/** Checks an object against the schema of its kind in Kubernetes' own API description. */
function validate(t: Test, object: KubernetesObject): void {
  const folder = object.apiVersion === 'v1' ? 'v1' : object.apiVersion
  const models = load(`kubernetes-models/${folder}/${object.kind}`) as Record<
    string,
    new (fields: object) => { validate(): void }
  >
  const Model = models[object.kind]!
  t.doesNotThrow(() => {
    new Model(object).validate()
  }, `${object.kind} ${object.metadata.name}`)
}

function objectsIn(text: string): KubernetesObject[] {
  return parseAllDocuments(text)
    .map((document) => document.toJS() as KubernetesObject | null)
    .filter((object) => object !== null)
}

function filesOf(folder: string): KubernetesObject[] {
  return readdirSync(join(DEPLOY, folder))
    .filter((name) => name.endsWith('.yaml') && name !== 'kustomization.yaml')
    .flatMap((name) => objectsIn(readFileSync(join(DEPLOY, folder, name), 'utf8')))
}

const VALUES = parse(readFileSync(join(DEPLOY, 'helm/kube-sluice/values.yaml'), 'utf8')) as Record<
  string,
  unknown
>

function chart(over: Record<string, unknown> = {}): KubernetesObject[] {
  const folder = join(DEPLOY, 'helm/kube-sluice/templates')
  const Chart = { AppVersion: '0.1.0' }
  const Values = { ...VALUES, apiServer: { host: '192.0.2.1', port: '6443' }, ...over }
  return readdirSync(folder).flatMap((name) =>
    objectsIn(
      renderTemplate(readFileSync(join(folder, name), 'utf8'), {
        Values,
        Chart,
        Release: { Namespace: 'kube-system' },
      }),
    ),
  )
}

/** The userspace mode by local routes. */
const WITHOUT_ROOT = {
  command: ['with-net-caps', /inh/, /ambient/, '--', 'node', '/opt/kube-sluice/dist/cli/main.js'],
  securityContext: {
    ...{ runAsUser: 65_532, runAsGroup: 65_532, runAsNonRoot: true },
    capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'NET_BIND_SERVICE'] },
  },
}

const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`

/** The configuration of a ConfigMap, read by the program itself. */
function readConfig(t: Test, objects: readonly KubernetesObject[]) {
  const text = objects.find(({ kind }) => kind === 'ConfigMap')?.data?.['config.yaml'] ?? ''
  const folder = mkdtempSync(join(tmpdir(), 'kube-sluice-deploy-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true })
  })
  writeFileSync(join(folder, 'config.yaml'), text)
  return loadRun(['--config', join(folder, 'config.yaml'), '--manifests', folder])
}

/** Why kustomize cannot be asked, or false. */
function noKustomize(): string | false {
  const { status } = spawnSync('kubectl', ['kustomize', '--help'])
  return status === 0 ? false : 'kubectl is not there'
}

function podOf(objects: readonly KubernetesObject[]): PodSpec {
  const daemonSet = objects.find(({ kind }) => kind === 'DaemonSet')
  return daemonSet?.spec?.template?.spec ?? {}
}

t.test('the base is valid, reads what it must, and nothing is privileged', async (t) => {
  const objects = filesOf('kustomize/base')
  for (const object of objects) validate(t, object)
  const { containers = [], hostNetwork } = podOf(objects)
  t.equal(hostNetwork, true)
  const { securityContext } = containers[0]!
  t.match(securityContext, {
    privileged: false,
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'NET_RAW', 'NET_BIND_SERVICE'] },
  })
  const role = objects.find(({ kind }) => kind === 'ClusterRole')
  const verbs = role!.rules!.flatMap(({ resources, verbs }) =>
    resources.map((resource) => `${resource}: ${verbs.join(' ')}`),
  )
  t.strictSame(verbs, [
    'services: list watch',
    'endpointslices: list watch',
    'nodes: list watch',
    'events: create patch',
  ])
  const { config, options } = readConfig(t, objects)
  t.equal(config.nodeSetup.sysctlRoot, '/host/proc/sys')
  t.strictSame(options.warnings, [])
})

t.test('overlays change what they are for', async (t) => {
  const [userspace, ipv6] = ['userspace', 'ipv6'].map((name) =>
    filesOf(`kustomize/overlays/${name}`),
  )
  const { containers = [] } = podOf(userspace!)
  t.match(containers[0]!, WITHOUT_ROOT)
  t.match(readConfig(t, userspace!).config, {
    proxyMode: 'userspace',
    userspace: { capture: 'anyip' },
    nodeSetup: { conntrackMaxPerCore: 0 },
  })
  t.match(readConfig(t, ipv6!).config.healthzBindAddress, { address: '::', port: 10_256 })
  for (const object of ipv6!) validate(t, object)
  const base = new Set(filesOf('kustomize/base').map(({ kind, metadata }) => kind + metadata.name))
  for (const { kind, metadata } of [...userspace!, ...ipv6!]) {
    t.ok(base.has(kind + metadata.name), `${kind} ${metadata.name} patches one of the base`)
  }
})

t.test('the image by digest: kustomize', { skip: noKustomize() }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kube-sluice-deploy-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true })
  })
  for (const from of ['base', 'overlays/userspace']) {
    const resource = relative(realpathSync(folder), join(DEPLOY, 'kustomize', from))
    const image = { name: 'kube-sluice', newName: 'registry.example/kube-sluice', digest: DIGEST }
    const text = stringify({
      ...{ apiVersion: 'kustomize.config.k8s.io/v1beta1', kind: 'Kustomization' },
      ...{ resources: [resource], images: [image] },
    })
    writeFileSync(join(folder, 'kustomization.yaml'), text)
    const objects = objectsIn(execFileSync('kubectl', ['kustomize', folder], { encoding: 'utf8' }))
    for (const object of objects) validate(t, object)
    t.equal(podOf(objects).containers![0]!.image, `registry.example/kube-sluice@${DIGEST}`, from)
  }
})

t.test('the image by digest: the chart', async (t) => {
  const repository = 'registry.example/kube-sluice'
  const image = { repository, tag: '0.2.0', digest: DIGEST, pullPolicy: 'IfNotPresent' }
  const objects = chart({ image })
  for (const object of objects) validate(t, object)
  t.equal(podOf(objects).containers![0]!.image, `${repository}@${DIGEST}`)
  t.equal(podOf(chart()).containers![0]!.image, 'kube-sluice:0.1.0')
  const tagged = chart({ image: { ...image, digest: '' } })
  t.equal(podOf(tagged).containers![0]!.image, `${repository}:0.2.0`)
})

t.test('every resource and patch that a kustomization names is there', async (t) => {
  for (const folder of ['base', 'overlays/userspace', 'overlays/ipv6']) {
    const path = join(DEPLOY, 'kustomize', folder)
    const { resources, patches = [] } = parse(
      readFileSync(join(path, 'kustomization.yaml'), 'utf8'),
    ) as { resources: string[]; patches?: { path: string }[] }
    for (const name of [...resources, ...patches.map((patch) => patch.path)]) {
      t.doesNotThrow(() => readdirSync(join(path, name, name.endsWith('.yaml') ? '..' : '.')), name)
    }
  }
})

t.test('a static Pod refers to nothing of the API server', async (t) => {
  const [pod] = filesOf('static-pod')
  validate(t, pod!)
  const text = readFileSync(join(DEPLOY, 'static-pod/kube-sluice.yaml'), 'utf8')
  t.notMatch(text, /^\s*(serviceAccountName|configMap|configMapKeyRef|secret|secretKeyRef):/m)
  t.ok(pod!.spec!.containers![0]!.args.some((word) => word.startsWith('--kubeconfig=')))
})

t.test('the chart gives the same objects as the base', async (t) => {
  const objects = chart()
  for (const object of objects) validate(t, object)
  const names = (list: readonly KubernetesObject[]) =>
    list.map(({ kind, metadata }) => `${kind}/${metadata.name}`).sort()
  t.strictSame(names(objects), names(filesOf('kustomize/base')))
  t.strictSame(
    podOf(objects).containers![0]!.volumeMounts,
    podOf(filesOf('kustomize/base')).containers![0]!.volumeMounts,
  )
  t.equal(readConfig(t, objects).config.nodeSetup.sysctlRoot, '/host/proc/sys')
})

t.test('the chart without NET_RAW, and without the address of the API server', async (t) => {
  const objects = chart({ userspaceOnly: true })
  for (const object of objects) validate(t, object)
  const [container] = podOf(objects).containers!
  t.match(container!, WITHOUT_ROOT)
  t.strictSame(
    container!.volumeMounts.map(({ name }) => name),
    ['config'],
  )
  t.equal(readConfig(t, objects).config.proxyMode, 'userspace')
  t.throws(() => chart({ apiServer: { host: '', port: '6443' } }), /set the API server's own/)
})

t.test('every volume that is mounted is there', async (t) => {
  const pods = [
    podOf(filesOf('kustomize/base')),
    podOf(chart()),
    podOf(chart({ userspaceOnly: true })),
    filesOf('static-pod')[0]!.spec!,
  ]
  for (const { containers = [], volumes = [] } of pods) {
    const names = volumes.map(({ name }) => name)
    t.strictSame(
      containers[0]!.volumeMounts.map(({ name }) => name),
      names,
    )
  }
})
