/** `auto` that falls back to ipvs, on a real ip_vs: test/fixtures/uml/auto-ipvs.ts has the cases. */
import t from 'tap'

import { passOn, runInUml, skipUml } from '../fixtures/uml.js'

/** A quarter of a minute on an idle machine. */
const TIMEOUT_MS = 300_000
t.setTimeout(TIMEOUT_MS + 60_000)

t.test('auto and ipvs', { skip: skipUml }, async (t) => {
  passOn(t, await runInUml({ script: 'test/fixtures/uml/auto-ipvs.ts', timeoutMs: TIMEOUT_MS }))
})
