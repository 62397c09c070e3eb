import t from 'tap'
import { readConfigFile } from '../../src/config/config-file.js'
import { runConfigOf, type LoadedRun } from '../../src/config/load.js'
import { applyReload } from '../../src/config/reload.js'
import { resolveOptions } from '../../src/config/resolve-options.js'

const HEAD = 'apiVersion: kube-sluice.io/v1alpha1\nkind: KubeSluiceConfiguration\nmanifests: d\n'
const FLAGS = new Map([['udp-timeout', '5s']])
const resolve = (text: string) => resolveOptions(FLAGS, readConfigFile('f', `${HEAD}${text}`))
const load = (text: string): LoadedRun => {
  const options = resolve(text)
  return { config: runConfigOf(options.values), options, file: undefined }
}

t.test('live options change in place, in the objects that others hold', async (t) => {
  const running = load('connectTimeout: 1s\nlogLevel: info\n')
  const { config } = running
  const { userspace } = config
  const { options, applied, needRestart } = applyReload(
    running,
    resolve('connectTimeout: 2s\nlogLevel: debug\n'),
  )
  t.equal(userspace.connectTimeoutMs, 2000)
  t.equal(config.userspace, userspace)
  t.equal(config.logLevel, 'debug')
  t.equal(options.texts.get('connectTimeout'), '2s')
  t.strictSame([...applied].sort(), ['--connect-timeout', '--log-level'])
  t.strictSame(needRestart, [])
})

t.test('others wait for a restart, and go on being told of until then', async (t) => {
  const running = load('proxyMode: userspace\n')
  const first = applyReload(running, resolve('proxyMode: nfqueue\ndrainTimeout: 3s\n'))
  t.equal(running.config.proxyMode, 'userspace')
  t.equal(running.config.drainTimeoutMs, 3000)
  t.strictSame(first.needRestart, ['--proxy-mode'])
  t.equal(first.options.texts.get('proxyMode'), 'userspace', 'what /configz shows is in force')
  const second = applyReload({ ...running, options: first.options }, resolve('drainTimeout: 3s\n'))
  t.strictSame(second.needRestart, ['--proxy-mode'], 'auto is not what runs either')
  t.strictSame(second.applied, [])
})

t.test(
  'a file does not change what a flag says, and leaving a line out is the default again',
  async (t) => {
    const running = load('udpTimeout: 9s\nudpStreamTimeout: 9s\n')
    const { applied } = applyReload(running, resolve('udpTimeout: 10s\n'))
    t.equal(running.config.userspace.udpTimeoutMs, 5000)
    t.equal(running.config.userspace.udpStreamTimeoutMs, 120_000)
    t.strictSame(applied, ['--udp-stream-timeout'])
  },
)
