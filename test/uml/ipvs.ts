/** The ipvs mode on a real ip_vs, in user-mode Linux: test/fixtures/uml/ipvs.ts has the cases. */
import t from 'tap'

import { passOn, runInUml, skipUml } from '../fixtures/uml.js'

/** Half a minute on an idle machine. */
const TIMEOUT_MS = 540_000
t.setTimeout(TIMEOUT_MS + 60_000)

t.test('where connections end', { skip: skipUml }, async (t) => {
  passOn(t, await runInUml({ script: 'test/fixtures/uml/ipvs.ts', timeoutMs: TIMEOUT_MS }))
})
