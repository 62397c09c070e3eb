/**
 * The ipvs mode on a real ip_vs, in user-mode Linux: endpoints that drain, a process that is killed,
 * cleanup, and the iptables mode before and after it. test/fixtures/uml/ipvs.ts has the cases; where
 * connections end is for packet-suite.ts.
 */
import t from 'tap'

import { passOn, runInUml, skipUml } from '../fixtures/uml.js'

/** Two minutes on an idle machine. */
const TIMEOUT_MS = 540_000
t.setTimeout(TIMEOUT_MS + 60_000)

t.test('ipvs', { skip: skipUml }, async (t) => {
  const script = 'test/fixtures/uml/ipvs.ts'
  passOn(t, await runInUml({ script, timeoutMs: TIMEOUT_MS, memoryMib: 1024 }))
})
