/** Every case of the packet suite with Node's own sockets in the place of the native pump. */
import t from 'tap'

import { testMode } from '../packet-suite/test-mode.js'

testMode(t, 'userspace-anyip', ['--userspace-relay', 'node'])
