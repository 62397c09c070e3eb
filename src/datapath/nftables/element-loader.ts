/** How element operations get into the kernel, and their text. */
import ipaddr from 'ipaddr.js'

import { runChecked, type RunCommand } from '../../kernel/command.js'
import type { ElementOperation } from './layout-diff.js'
import { tableName } from './skeleton.js'
import { fieldLength, SETS, specOf, type Field, type SetName } from './tables.js'

export interface ElementLoader {
  /**
   * Executes the operations in their order as one transaction: all or none.
   * @throws SluiceError when the kernel refuses
   */
  load(operations: readonly ElementOperation[]): Promise<void>
}

/** Through `nft -f`: for `render`, for tests, and where there is no addon. */
export class TextElementLoader implements ElementLoader {
  readonly #run: RunCommand

  constructor(run: RunCommand) {
    this.#run = run
  }

  async load(operations: readonly ElementOperation[]): Promise<void> {
    if (operations.length > 0) {
      await runChecked(this.#run, 'nft', ['-f', '-'], renderOperations(operations))
    }
  }
}

const PROTOCOL_NAMES = new Map([
  [6, 'tcp'],
  [17, 'udp'],
  [132, 'sctp'],
])

/** The operations as text for `nft -f`, one line each. */
export function renderOperations(operations: readonly ElementOperation[]): string {
  return operations.map((operation) => `${renderOperation(operation)}\n`).join('')
}

function renderOperation(operation: ElementOperation): string {
  const { op, family, set } = operation
  const where = `${tableName(family)} ${set}`
  if (op === 'flush') {
    const spec = specOf(setName(set))
    const isMap = spec.data !== undefined || spec.chains !== undefined
    return `flush ${isMap ? 'map' : 'set'} ${where}`
  }
  return `${op} element ${where} { ${elementTexts(operation).join(', ')} }`
}

function elementTexts(operation: ElementOperation): string[] {
  const { family, keyLength, dataLength, data, verdicts } = operation
  const spec = specOf(setName(operation.set))
  const keys = viewOf(operation.keys)
  const ends = operation.keyEnds && viewOf(operation.keyEnds)
  const values = data && viewOf(data)
  return Array.from({ length: operation.keys.length / keyLength }, (_, index) => {
    const at = index * keyLength
    const key = fieldsText(spec.key, family, (field, offset) =>
      fieldText(field, keys, { at: at + offset, ends, family }),
    )
    if (values !== undefined) {
      const from = index * dataLength
      const value = fieldsText(spec.data ?? [], family, (field, offset) =>
        fieldText(field, values, { at: from + offset, ends: undefined, family }),
      )
      return `${key} : ${value}`
    }
    const chain = verdicts?.names[verdicts.indexes[index] ?? 0]
    return chain === undefined ? key : `${key} : goto ${chain}`
  })
}

function setName(set: string): SetName {
  if (!Object.hasOwn(SETS, set)) throw new RangeError(`no such set: ${set}`)
  return set as SetName
}

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength)
}

function fieldsText(
  fields: readonly Field[],
  family: ElementOperation['family'],
  print: (field: Field, offset: number) => string,
): string {
  let offset = 0
  const texts = fields.map((field) => {
    const text = print(field, offset)
    offset += fieldLength(field, family)
    return text
  })
  return texts.join(' . ')
}

interface Place {
  readonly at: number
  readonly ends: DataView | undefined
  readonly family: ElementOperation['family']
}

function fieldText(field: Field, bytes: DataView, { at, ends, family }: Place): string {
  switch (field) {
    case 'address':
      return addressText(bytes, at, family)
    case 'range': {
      const from = addressText(bytes, at, family)
      const to = ends === undefined ? from : addressText(ends, at, family)
      return from === to ? from : `${from}-${to}`
    }
    case 'protocol':
      return PROTOCOL_NAMES.get(bytes.getUint8(at)) ?? String(bytes.getUint8(at))
    case 'port':
      return String(bytes.getUint16(at))
    case 'slot':
      return String(
        new Uint32Array(bytes.buffer.slice(bytes.byteOffset + at, bytes.byteOffset + at + 4))[0],
      )
  }
}

function addressText(bytes: DataView, at: number, family: ElementOperation['family']): string {
  const length = fieldLength('address', family)
  const octets = Array.from({ length }, (_, index) => bytes.getUint8(at + index))
  return family === 'IPv4' ? octets.join('.') : ipaddr.fromByteArray(octets).toString()
}
