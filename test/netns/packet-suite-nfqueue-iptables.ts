/** Every case of the packet suite against this mode: see test/packet-suite. */
import t from 'tap'

import { testMode } from '../packet-suite/test-mode.js'

testMode(t, 'nfqueue-iptables')
