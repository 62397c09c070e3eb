/** Every case of the packet suite against the ipvs mode, on a real ip_vs: see test/packet-suite. */
import t from 'tap'

import { passOn, runInUml, skipUml } from '../fixtures/uml.js'

/** A minute on an idle machine. */
const TIMEOUT_MS = 540_000
t.setTimeout(TIMEOUT_MS + 60_000)

t.test('ipvs', { skip: skipUml }, async (t) => {
  const script = 'test/fixtures/uml/packet-suite.ts'
  passOn(t, await runInUml({ script, timeoutMs: TIMEOUT_MS, memoryMib: 1024 }))
})
