import t from 'tap'

import { loadRunConfig } from '../../../src/config/load.js'
import { spawnSteeringEarly } from '../../../src/datapath/nfqueue/steering-spawn.js'
import { kernelWithout } from '../../fixtures/kernel-capabilities.js'

/** Whether the worker is started, with these flags on a kernel without these. */
async function isSpawned(
  flags: readonly string[],
  ...missing: Parameters<typeof kernelWithout>
): Promise<boolean> {
  const config = loadRunConfig(['--manifests', 'none', ...flags])
  const spawned = await spawnSteeringEarly(config, Promise.resolve(kernelWithout(...missing)))
  await spawned?.worker.terminate()
  return spawned !== undefined
}

t.test('the worker is started when it will be needed, and only then', async (t) => {
  t.ok(await isSpawned(['--proxy-mode', 'nfqueue']))
  t.ok(await isSpawned(['--proxy-mode', 'auto']))
  t.ok(await isSpawned(['--proxy-mode', 'auto', '--deciding-mode', 'nfqueue'], 'ipset match'))
  t.notOk(await isSpawned(['--proxy-mode', 'auto'], 'ipset match'))
  t.notOk(await isSpawned(['--proxy-mode', 'auto', '--deciding-mode', 'userspace']))
  t.notOk(await isSpawned(['--proxy-mode', 'userspace']))
})

t.test('its end has a reason, also for who asks later', async (t) => {
  const config = loadRunConfig(['--manifests', 'none', '--proxy-mode', 'nfqueue'])
  const spawned = await spawnSteeringEarly(config, Promise.resolve(kernelWithout()))
  await spawned?.worker.terminate()
  t.ok((await spawned?.ended) instanceof Error)
})
