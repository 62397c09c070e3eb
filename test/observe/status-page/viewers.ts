import { EventEmitter } from 'node:events'
import t from 'tap'
import { eventText, Viewers, type EventSink } from '../../../src/observe/status-page/viewers.js'

class Sink extends EventEmitter {
  readonly texts: string[] = []
  writableNeedDrain = false
  isDestroyed = false
  write(text: string): boolean {
    this.texts.push(text)
    return true
  }
  destroy(): void {
    this.isDestroyed = true
    this.emit('close')
  }
}

const join = (viewers: Viewers): Sink => {
  const sink = new Sink()
  viewers.add(sink as unknown as EventSink, 'head', 0)
  return sink
}

t.test('a slow reader is sent what it lacks when it can take it, and nothing before', async (t) => {
  const viewers = new Viewers(() => undefined)
  const [fast, slow] = [join(viewers), join(viewers)]
  const asked: number[] = []
  const send = (tick: number, nowMs: number) => {
    viewers.send(
      (place) => {
        asked.push(place.tick)
        return `since ${place.tick}`
      },
      { tick, points: 0, feed: 0 },
      nowMs,
    )
  }
  send(1, 1000)
  t.strictSame(asked, [0], 'one text for all at the same place')
  slow.writableNeedDrain = true
  send(2, 2000)
  send(3, 3000)
  slow.writableNeedDrain = false
  send(4, 4000)
  t.strictSame(fast.texts, ['head', 'since 0', 'since 1', 'since 2', 'since 3'])
  t.strictSame(slow.texts, ['head', 'since 0', 'since 1'])
})

t.test('a reader that takes nothing is dropped; the last one that goes is told', async (t) => {
  let isEmpty = false
  const viewers = new Viewers(() => (isEmpty = true))
  const sink = join(viewers)
  sink.writableNeedDrain = true
  const send = (nowMs: number) => {
    viewers.send(() => '', { tick: 1, points: 0, feed: 0 }, nowMs)
  }
  send(15_000)
  t.equal(sink.isDestroyed, false)
  send(25_000)
  t.ok(sink.isDestroyed && isEmpty)
  t.equal(viewers.dropped, 1)
  for (let i = 0; i < 8; i++) join(viewers)
  t.ok(viewers.isFull)
  viewers.close()
  t.equal(viewers.size, 0)
})

t.test('an event is one line of data', async (t) => {
  t.equal(eventText('tick', { text: 'a\nb' }), 'event: tick\ndata: {"text":"a\\nb"}\n\n')
})
