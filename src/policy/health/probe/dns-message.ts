/** DNS messages (RFC 1035, 4), as far as a probe needs them: one question, the code and the answers. */

const HEADER_BYTES = 12
const RECURSION_DESIRED = 0x100
const CLASS_IN = 1
const TYPES: Readonly<Record<string, number>> = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  ANY: 255,
}
const CODES = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN', 'NOTIMP', 'REFUSED']
/** More compression pointers than this are a loop. */
const MAX_POINTERS = 20

export interface DnsAnswer {
  readonly id: number
  readonly isResponse: boolean
  readonly code: string
  /** Addresses and names; other data is left out. */
  readonly answers: readonly string[]
}

export function encodeQuery(id: number, name: string, type: string): Buffer {
  const labels = name.split('.').filter((label) => label !== '')
  const question = Buffer.concat([
    ...labels.map((label) => Buffer.concat([Buffer.of(label.length), Buffer.from(label)])),
    Buffer.of(0, 0, TYPES[type] ?? 1, 0, CLASS_IN),
  ])
  const header = Buffer.alloc(HEADER_BYTES)
  header.writeUInt16BE(id, 0)
  header.writeUInt16BE(RECURSION_DESIRED, 2)
  header.writeUInt16BE(1, 4)
  return Buffer.concat([header, question])
}

/** undefined: it is no DNS message. Never throws. */
export function decodeAnswer(message: Buffer): DnsAnswer | undefined {
  if (message.length < HEADER_BYTES) return undefined
  const flags = message.readUInt16BE(2)
  const answer = {
    id: message.readUInt16BE(0),
    isResponse: (flags & 0x8000) !== 0,
    code: CODES[flags & 15] ?? `RCODE${flags & 15}`,
  }
  try {
    return { ...answer, answers: answersOf(message) }
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

/** Throws RangeError beyond the end of the message. */
function answersOf(message: Buffer): string[] {
  let at = HEADER_BYTES
  for (let left = message.readUInt16BE(4); left > 0; left--) at = nameAt(message, at).end + 4
  const answers: string[] = []
  for (let left = message.readUInt16BE(6); left > 0; left--) {
    at = nameAt(message, at).end
    const type = message.readUInt16BE(at)
    const length = message.readUInt16BE(at + 8)
    const text = dataText(message, type, at + 10, length)
    if (text !== undefined) answers.push(text)
    at += 10 + length
  }
  return answers
}

function dataText(message: Buffer, type: number, at: number, length: number): string | undefined {
  switch (type) {
    case 1:
      return [...message.subarray(at, at + 4)].join('.')
    case 2:
    case 5:
    case 12:
      return nameAt(message, at).name
    case 16:
      return message.toString('latin1', at + 1, at + Math.min(length, 1 + message.readUInt8(at)))
    case 28: {
      const groups = [0, 2, 4, 6, 8, 10, 12, 14].map((i) => message.readUInt16BE(at + i))
      return groups.map((group) => group.toString(16)).join(':')
    }
    default:
      return undefined
  }
}

function nameAt(message: Buffer, start: number): { name: string; end: number } {
  const labels: string[] = []
  let at = start
  let end: number | undefined
  for (let pointers = 0; pointers <= MAX_POINTERS;) {
    const length = message.readUInt8(at)
    if (length === 0) return { name: labels.join('.'), end: end ?? at + 1 }
    if ((length & 0xc0) === 0xc0) {
      end ??= at + 2
      at = message.readUInt16BE(at) & 0x3fff
      pointers++
    } else {
      if (at + 1 + length > message.length || labels.length > 128) throw new RangeError('name')
      labels.push(message.toString('latin1', at + 1, at + 1 + length))
      at += 1 + length
    }
  }
  throw new RangeError('name')
}
