import t from 'tap'

import { DEFAULT_MARK_MASK, markLayoutOf, markOf, slotOf } from '../../src/packet/mark-layout.js'

t.test('the default mask', async (t) => {
  t.strictSame(markLayoutOf(DEFAULT_MARK_MASK), {
    mask: 0x3fffff00,
    masqueradeBit: 0x20000000,
    rejectBit: 0x10000000,
    slotMask: 0x0fffff00,
    slotShift: 8,
    maxSlot: 0xfffff,
  })
})

t.test('a mask up to bit 31, and the shortest one', async (t) => {
  const high = markLayoutOf(0xfff00000)
  t.match(high, { masqueradeBit: 0x80000000, rejectBit: 0x40000000, slotMask: 0x3ff00000 })
  t.equal(high.maxSlot, 1023)
  t.equal(slotOf(high, 0xffffffff), 1023)
  t.equal(markOf(high, 1023, { masquerade: true }), 0xbff00000)
  t.match(markLayoutOf(0xffffffff), { slotShift: 0, slotMask: 0x3fffffff })
})

t.test('masks that cannot be used', async (t) => {
  for (const mask of [0, -1, 0x7ff, 0xff0ff0, 0x100000000, 4095.5, Number.NaN]) {
    t.throws(() => markLayoutOf(mask), RangeError, String(mask))
  }
})

t.test('slots go in and come out, whatever the other bits', async (t) => {
  const layout = markLayoutOf(DEFAULT_MARK_MASK)
  for (const slot of [1, 2, 255, 256, layout.maxSlot]) {
    for (const masquerade of [true, false]) {
      const mark = markOf(layout, slot, { masquerade })
      t.equal(slotOf(layout, (mark | 0xc00000ff) >>> 0), slot)
      t.equal((mark & layout.masqueradeBit) !== 0, masquerade)
      t.equal(mark & ~layout.mask, 0)
    }
  }
  t.equal(slotOf(layout, layout.rejectBit), 0)
  for (const slot of [0, layout.maxSlot + 1, 1.5]) {
    t.throws(() => markOf(layout, slot, { masquerade: false }), RangeError)
  }
})
