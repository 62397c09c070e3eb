/** The user-mode kernel of test/fixtures/uml.ts itself. */
import t from 'tap'

import { passOn, runInUml, skipUml } from '../fixtures/uml.js'

t.test('it boots and has what the ipvs mode needs', { skip: skipUml }, async (t) => {
  passOn(t, await runInUml({ script: 'test/fixtures/uml/kernel.ts', args: ['a b', "it's"] }))
})
