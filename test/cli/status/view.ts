import t from 'tap'
import { keysOf } from '../../../src/cli/status/keys.js'
import { screenOf } from '../../../src/cli/status/screen.js'
import { arranged, FIRST_VIEW, pressed, type View } from '../../../src/cli/status/view.js'
import { threeServices } from '../../fixtures/status-document.js'

function after(keys: readonly string[], first: View = FIRST_VIEW): View {
  return keys.reduce<View>((view, key) => {
    const next = pressed(view, key, 10)
    return next === 'quit' ? (t.fail(`${key} has quit`) as never) : next
  }, first)
}
const namesAfter = (...keys: string[]): string[] =>
  arranged(threeServices(), after(keys)).map(({ name }) => name)

t.test('bytes of a terminal are keys', async (t) => {
  t.same(keysOf('q'), ['q'])
  t.same(keysOf('\u001b'), ['escape'])
  t.same(keysOf('\u001b[A\u001bOBx\u001b[5~'), ['up', 'down', 'x', 'pageup'])
  t.same(keysOf('/we\u007f\r\u0003'), ['/', 'w', 'e', 'backspace', 'enter', 'ctrl-c'])
  t.same(keysOf('\u001b[1;5Cé\u0000'), ['é'], 'what has no meaning here is passed over')
})

t.test('sorting: by a key, the other way round by the same', async (t) => {
  t.same(namesAfter(), ['kube-system/dns:dns', 'test/web:http', 'test/zero'])
  t.same(namesAfter('n'), ['test/zero', 'test/web:http', 'kube-system/dns:dns'])
  t.same(namesAfter('s'), ['test/zero', 'test/web:http', 'kube-system/dns:dns'])
  t.same(namesAfter('o'), ['kube-system/dns:dns', 'test/web:http', 'test/zero'])
  t.same(namesAfter('y', 'y'), ['test/zero', 'kube-system/dns:dns', 'test/web:http'])
  t.equal(namesAfter('f')[0], 'test/web:http')
  t.equal(namesAfter('t')[0], 'test/web:http')
})

t.test('filter, problems, namespace', async (t) => {
  t.same(namesAfter(...keysOf('/10.244.2.2')), ['test/web:http'])
  t.same(namesAfter(...keysOf('/WEBS\u007f\r')), ['kube-system/dns:dns', 'test/web:http'])
  t.same(namesAfter(...keysOf('/zero\u001b')), [
    'kube-system/dns:dns',
    'test/web:http',
    'test/zero',
  ])
  t.same(namesAfter('p'), ['test/web:http', 'test/zero'])
  const view = { ...FIRST_VIEW, namespace: 'test' }
  t.equal(arranged(threeServices(), view).length, 2)
})

t.test('letters are letters while the filter is typed; q and Ctrl-C quit', async (t) => {
  const typing = after(['/', 'q'])
  t.equal(typing.filter, 'q')
  t.equal(pressed(typing, 'ctrl-c', 10), 'quit')
  t.equal(pressed(after(['enter'], typing), 'q', 10), 'quit')
})

t.test('the screen is full, never more, and scrolls to the end and no further', async (t) => {
  const screen = (view: View, height: number, trouble?: string) =>
    screenOf(threeServices(), {
      ...{ width: 60, height, view, trouble },
      ...{ hasColour: false, nowMs: 0 },
    })
  for (const height of [3, 8, 24, 50]) {
    const { lines } = screen(FIRST_VIEW, height)
    t.equal(lines.length, height)
    t.same(
      lines.filter((line) => line.length > 60),
      [],
    )
  }
  const { view, page, lines } = screen(after(['end']), 12)
  t.equal(view.offset, 7 - page)
  t.match(lines.at(-2), /^test\/zero/)
  t.match(lines.at(-1), `${8 - page}-7 of 7`)
  t.match(screen(FIRST_VIEW, 24, 'not of now').lines[0], 'not of now')
  t.match(screen(after(['?']), 24).lines.join('\n'), 'sort by name')
  t.equal(screen(after(['/', 'x', 'y']), 24).lines.at(-1), '/xy_')
})
