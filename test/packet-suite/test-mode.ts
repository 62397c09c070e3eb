/** Makes a tap test of each case of the suite, for one mode. */
import type { TAP } from 'tap'

import { CONFIGURATIONS, type ConfigurationName } from './configurations.js'
import { missingTools } from './iptables-tools.js'
import { type ModeName, modeOf } from './modes.js'
import { rootOnly, startNetwork } from './network.js'
import { runConfiguration } from './run-suite.js'

/** @param extraFlags what must make no difference */
export function testMode(t: TAP, mode: ModeName, extraFlags: readonly string[] = []): void {
  const skip = rootOnly || missingTools(modeOf(mode).tools)
  t.test([mode, ...extraFlags].join(' '), { skip, timeout: 170_000 }, async (t) => {
    const network = await startNetwork()
    t.teardown(() => network.cluster.close())
    for (const configuration of Object.keys(CONFIGURATIONS) as ConfigurationName[]) {
      for (const { name, problems } of await runConfiguration({
        ...{ mode, network, configuration, extraFlags },
      })) {
        t.same(problems, [], name)
      }
    }
  })
}
