import t from 'tap'
import { parseQuestion } from '../../../src/observe/explain/question.js'

t.test('words become a question', async (t) => {
  t.strictSame(parseQuestion('udp', '10.0.0.5', '10.96.0.10:53'), {
    protocol: 'UDP',
    client: '10.0.0.5',
    clientPort: undefined,
    address: '10.96.0.10',
    port: 53,
  })
  t.match(parseQuestion('TCP', 'FD00::1', '[fd00:0::10]:443'), {
    client: 'fd00::1',
    address: 'fd00::10',
  })
  t.match(parseQuestion('tcp', '10.0.0.5:40000', '10.96.0.10:53'), {
    client: '10.0.0.5',
    clientPort: 40_000,
  })
  t.match(parseQuestion('tcp', '[fd00::1]:40000', '[fd00::10]:443'), {
    client: 'fd00::1',
    clientPort: 40_000,
  })
})

t.test('what is wrong is one line', async (t) => {
  for (const [words, message] of [
    [['icmp', '10.0.0.5', '10.96.0.10:1'], 'protocol "icmp": use tcp, udp or sctp'],
    [['tcp', 'me', '10.96.0.10:1'], 'client "me" is not an IP address'],
    [['tcp', '10.0.0.5:0', '10.96.0.10:1'], 'client "10.0.0.5:0" is not an IP address'],
    [['tcp', '10.0.0.5', '10.96.0.10'], 'write ADDRESS:PORT'],
    [['tcp', '10.0.0.5', '10.96.0.10:70000'], 'write ADDRESS:PORT'],
    [['tcp', '10.0.0.5', '[fd00::1]:80'], 'different IP families'],
  ] as const) {
    t.throws(() => parseQuestion(...(words as unknown as [string, string, string])), {
      code: 'ERR_USAGE',
      message: new RegExp(message),
    })
  }
})
