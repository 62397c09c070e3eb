/** The Snapshot of the manifests as they are now: for commands that do not go on watching them. */
import type { RunConfig } from '../config/run-config.js'
import { SluiceError } from '../lib/errors.js'
import { ClusterState } from '../model/cluster-state.js'
import type { Snapshot } from '../model/snapshot.js'
import { newAnnotationProblems } from '../policy/annotation-problems.js'
import { ManifestSource } from '../source/manifests/manifest-source.js'
import { annotationReaders } from './annotation-readers.js'

/** Throws SluiceError: ERR_USAGE without manifests, ERR_MANIFEST when they cannot be read at all. */
export async function readSnapshot(
  config: RunConfig,
  warn: (message: string) => void,
): Promise<Snapshot> {
  const { manifests, nodeName, nodeIp } = config
  if (manifests === undefined) {
    throw new SluiceError(
      'ERR_USAGE',
      '--manifests is missing: this command reads Services and EndpointSlices from files',
    )
  }
  const state = new ClusterState({ nodeName, nodeIp })
  const nothing = state.snapshot()
  const source = new ManifestSource({ path: manifests })
  try {
    await source.start({
      onChanges: (changes) => {
        state.apply(changes)
      },
      onWarning: (message) => {
        warn(message)
      },
    })
  } finally {
    await source.close()
  }
  const problems = state.takeProblems()
  const snapshot = state.snapshot()
  problems.push(...newAnnotationProblems(nothing, snapshot, annotationReaders(config)))
  for (const { object, field, message } of problems) warn(`${object}: ${field}: ${message}`)
  return snapshot
}
