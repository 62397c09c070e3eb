/** The Snapshot of the manifests as they are now: for commands that do not go on watching them. */
import type { RunConfig } from '../config/run-config.js'
import { SluiceError } from '../lib/errors.js'
import { ClusterState } from '../model/cluster-state.js'
import type { Snapshot } from '../model/snapshot.js'
import { ManifestSource } from '../source/manifests/manifest-source.js'

/** Throws SluiceError: ERR_USAGE without manifests, ERR_MANIFEST when they cannot be read at all. */
export async function readSnapshot(
  { manifests, nodeName }: Pick<RunConfig, 'manifests' | 'nodeName'>,
  warn: (message: string) => void,
): Promise<Snapshot> {
  if (manifests === undefined) {
    throw new SluiceError(
      'ERR_USAGE',
      '--manifests is missing: this command reads Services and EndpointSlices from files',
    )
  }
  const state = new ClusterState({ nodeName })
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
  for (const { object, field, message } of state.takeProblems()) {
    warn(`${object}: ${field}: ${message}`)
  }
  return state.snapshot()
}
