import t from 'tap'
import { readConfigFile } from '../../../src/config/config-file.js'
import { runConfigOf, type LoadedRun } from '../../../src/config/load.js'
import { applyReload } from '../../../src/config/reload.js'
import { resolveOptions } from '../../../src/config/resolve-options.js'
import { desiredState, PartCache } from '../../../src/datapath/ipvs/desired-state.js'
import { ipvsSettings, partOptionsOf } from '../../../src/datapath/ipvs/ipvs-settings.js'
import { endpoint, portState, servicePort, snapshotOf } from '../../fixtures/endpoint.js'

const HEAD = 'apiVersion: kube-sluice.io/v1alpha1\nkind: KubeSluiceConfiguration\nmanifests: d\n'
const resolve = (text: string) => resolveOptions(new Map(), readConfigFile('f', `${HEAD}${text}`))

t.test('another default balancer is another scheduler, from the next sync on', async (t) => {
  const options = resolve('defaultBalancer: round-robin\n')
  const running: LoadedRun = { config: runConfigOf(options.values), options, file: undefined }
  const settings = ipvsSettings(running.config)
  const cache = new PartCache()
  const snapshot = snapshotOf([portState(servicePort(), [endpoint('10.0.0.1', 8080)])])
  const schedulers = () => {
    const part = partOptionsOf('IPv4', snapshot, [], settings)
    return [...desiredState(snapshot, part, cache).servers.values()].map((one) => one.scheduler)
  }
  t.strictSame(schedulers(), ['rr'])
  const { needRestart } = applyReload(running, resolve('defaultBalancer: least-connections\n'))
  t.strictSame(schedulers(), ['lc'])
  t.strictSame(needRestart, [])
  const other = applyReload(running, resolve('defaultBalancer: maglev\nipvsScheduler: wrr\n'))
  t.strictSame(schedulers(), ['mh'])
  t.strictSame(other.needRestart, ['--ipvs-scheduler'])
})
