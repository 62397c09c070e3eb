import t from 'tap'
import { ConnectPatience } from '../../../src/policy/health/connect-patience.js'
import { endpoint } from '../../fixtures/endpoint.js'

const [near, far] = [endpoint('10.1.0.1'), endpoint('10.1.0.2')]

t.test('nothing is known before an endpoint has answered, nor after it has gone', async (t) => {
  const patience = new ConnectPatience(300)
  t.equal(patience.of(near), undefined)
  patience.answered(near, 1)
  patience.answered(far, 1)
  t.equal(patience.of(near), 300)
  patience.retain([far])
  t.equal(patience.of(near), undefined)
  t.equal(patience.of(far), 300)
})

t.test(
  'who is slow to answer gets four times that, and less by degrees when it is fast again',
  async (t) => {
    const patience = new ConnectPatience(300)
    patience.answered(far, 400)
    t.equal(patience.of(far), 1600)
    patience.answered(far, 2)
    t.equal(patience.of(far), 1400)
    for (let i = 0; i < 20; i++) patience.answered(far, 2)
    t.equal(patience.of(far), 300)
    patience.answered(far, 100)
    t.equal(patience.of(far), 400)
  },
)

t.test('0: nobody is ever silent', async (t) => {
  const patience = new ConnectPatience(0)
  patience.answered(near, 1)
  t.equal(patience.of(near), undefined)
})
