import t from 'tap'
import { needsMasquerade, type MasqueradeInput } from '../../src/model/masquerade.js'
import type { SourceKind, VipKind } from '../../src/model/vip.js'

const CLUSTER: readonly VipKind[] = ['cluster-ip']
const EXTERNAL: readonly VipKind[] = ['external-ip', 'load-balancer-ip', 'node-port']
const SOURCES: readonly SourceKind[] = ['pod', 'node', 'other']
const DETECTOR = { masqueradeAll: false, hasLocalDetector: true }
const NO_DETECTOR = { masqueradeAll: false, hasLocalDetector: false }
const ALL = { masqueradeAll: true, hasLocalDetector: false }

interface Row {
  readonly name: string
  readonly kinds: readonly VipKind[]
  readonly sources: readonly SourceKind[]
  readonly isLocalPolicy?: boolean
  readonly options?: MasqueradeInput['options']
  readonly isHairpin?: boolean
  readonly expected: boolean
}

const ROWS: readonly Row[] = [
  {
    name: 'a pod keeps its address toward a cluster IP',
    kinds: CLUSTER,
    sources: ['pod'],
    expected: false,
  },
  {
    name: 'the node and outsiders are masqueraded toward a cluster IP when pods can be told',
    kinds: CLUSTER,
    sources: ['node', 'other'],
    expected: true,
  },
  {
    name: 'without a local detector nobody is, toward a cluster IP',
    kinds: CLUSTER,
    sources: SOURCES,
    options: NO_DETECTOR,
    expected: false,
  },
  {
    name: 'masqueradeAll masquerades everyone toward a cluster IP',
    kinds: CLUSTER,
    sources: SOURCES,
    options: ALL,
    expected: true,
  },
  {
    name: 'external policy Cluster masquerades everyone',
    kinds: EXTERNAL,
    sources: SOURCES,
    options: NO_DETECTOR,
    expected: true,
  },
  {
    name: 'external policy Local keeps the address of pods and outsiders',
    kinds: EXTERNAL,
    sources: ['pod', 'other'],
    isLocalPolicy: true,
    expected: false,
  },
  {
    name: 'masqueradeAll says nothing about external destinations',
    kinds: EXTERNAL,
    sources: ['pod', 'other'],
    isLocalPolicy: true,
    options: ALL,
    expected: false,
  },
  {
    name: 'external policy Local masquerades the node itself',
    kinds: EXTERNAL,
    sources: ['node'],
    isLocalPolicy: true,
    expected: true,
  },
  {
    name: 'an endpoint that reaches itself is always masqueraded',
    kinds: [...CLUSTER, ...EXTERNAL],
    sources: SOURCES,
    isLocalPolicy: true,
    options: NO_DETECTOR,
    isHairpin: true,
    expected: true,
  },
]

for (const row of ROWS) {
  t.test(row.name, async (t) => {
    for (const kind of row.kinds) {
      for (const source of row.sources) {
        const masquerades = needsMasquerade({
          servicePort: { externalPolicyLocal: row.isLocalPolicy ?? false },
          kind,
          source,
          isHairpin: row.isHairpin ?? false,
          options: row.options ?? DETECTOR,
        })
        t.equal(masquerades, row.expected, `${source} to ${kind}`)
      }
    }
  })
}
