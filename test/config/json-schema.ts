/** The schema in deploy/, by a validator of JSON Schema, beside what the program itself says. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import t from 'tap'
import { parse } from 'yaml'
import { kubeProxyDocument, kubeSluiceDocument } from '../../src/config/config-documents.js'
import {
  KUBE_PROXY_DOCUMENT,
  KUBE_SLUICE_DOCUMENT,
  readConfigFile,
} from '../../src/config/config-file.js'
import { resolveOptions } from '../../src/config/resolve-options.js'

type Validate = (value: unknown) => boolean
type Ajv = new (options: object) => { compile(schema: object): Validate }

const textOf = (name: string) => readFileSync(new URL(`../${name}`, import.meta.url), 'utf8')

/** From the package that checks deploy/, which has a validator of the draft that the schema is in. */
function validator(): Validate {
  const models = createRequire(import.meta.url).resolve('kubernetes-models/v1/Service')
  const validation = createRequire(models).resolve('@kubernetes-models/validate')
  const { Ajv2020 } = createRequire(validation)('ajv/dist/2020.js') as { Ajv2020: Ajv }
  const schema = JSON.parse(textOf('../deploy/kube-sluice-config.schema.json')) as object
  return new Ajv2020({ allErrors: true, strict: false }).compile(schema)
}

const isValid = validator()
const ours = (fields: object) => ({ ...KUBE_SLUICE_DOCUMENT, ...fields })
const theirs = (fields: object) => ({ ...KUBE_PROXY_DOCUMENT, ...fields })

function resolve(document: object) {
  const flags = new Map([['manifests', 'dir']])
  return resolveOptions(flags, readConfigFile('f.yaml', JSON.stringify(document)))
}

t.test("kubeadm's document and everything at its default are valid", async (t) => {
  t.ok(isValid(parse(textOf('fixtures/kubeadm-kube-proxy.yaml'))))
  const defaults = resolve(ours({}))
  t.ok(isValid(kubeProxyDocument(defaults)))
  t.ok(isValid(kubeSluiceDocument(defaults)))
})

t.test('a value of kube-proxy that is out of its range is left to the program', async (t) => {
  // Its document may say things that mean "the default" there: the schema has types and names only.
  const document = theirs({ iptables: { masqueradeBit: 77 } })
  t.equal(isValid(document), true)
  t.equal(resolve(document).problems.length, 1)
})

t.test('the schema takes and refuses what the program does', async (t) => {
  for (const [document, isTaken] of [
    [ours({}), true],
    [ours({ connectAttempts: 10, masqueradeAll: true, udpTimeout: '9s' }), true],
    [ours({ connectAttempts: 11 }), false],
    [ours({ connectAttempts: '3' }), false],
    [ours({ conectTimeout: '1s' }), false],
    [ours({ tcpIdleTimeout: 5 }), false],
    [ours({ masqueradeAll: 'yes' }), false],
    [ours({ proxyMode: 'fast' }), false],
    [ours({ proxyMode: 'nfqueue' }), true],
    [ours({ nodeportAddresses: ['10.0.0.0/8', 'fd00::/8'] }), true],
    [theirs({ mode: 'ipvs', conntrack: { min: 5 }, iptables: { masqueradeBit: 14 } }), true],
    [theirs({ iptables: null, oomScoreAdj: null }), true],
    [theirs({ iptables: { syncPerod: '1s' } }), false],
    [theirs({ ipvs: [] }), false],
    [theirs({ conntrack: { min: 'many' } }), false],
    [theirs({ connectTimeout: '1s' }), false],
    [theirs({ nodePortAddresses: [1] }), false],
    [theirs({ winkernel: { networkName: 'n' }, portRange: '1-2' }), true],
    [{ apiVersion: 'v1', kind: 'Pod' }, false],
  ] as const) {
    const text = JSON.stringify(document)
    t.equal(isValid(document), isTaken, `the schema: ${text}`)
    t.equal(resolve(document).problems.length === 0, isTaken, `the program: ${text}`)
  }
})
