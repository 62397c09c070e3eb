/**
 * As much of DNS (RFC 1035) as the demo's DNS Service and its clients speak: one question, A and
 * TXT records, names up to 255 bytes. Pure; nothing throws on bytes from the network: what cannot
 * be read is `undefined`, and no read goes past the end.
 *
 *    0     2       4         6         8         10        12
 *    | id  | flags | qdcount | ancount | nscount | arcount | question | records ...
 */

export const TYPE_A = 1
export const TYPE_TXT = 16
const TYPE_ANY = 255
const CLASS_IN = 1
const HEADER_BYTES = 12
/** RFC 1035 2.3.4. */
const MAX_LABEL_BYTES = 63
const MAX_NAME_BYTES = 255
/** Records read of one reply; the demo sends two. */
const MAX_RECORDS = 16
/** A name that points to the question's (RFC 1035 4.1.4: 11 and the offset in 14 bits). */
const POINTER_TO_QUESTION = 0xc000 | HEADER_BYTES

const FLAG_REPLY = 0x8000
const FLAG_AUTHORITATIVE = 0x0400
const FLAG_RECURSION_DESIRED = 0x0100
const OPCODE_MASK = 0x7800

/** Response codes (RFC 1035 4.1.1) that the demo's server gives. */
export const RCODE_NO_ERROR = 0
export const RCODE_FORMAT_ERROR = 1
export const RCODE_NOT_IMPLEMENTED = 4

export interface DnsRecord {
  readonly type: number
  /** Dotted quad for A, the first character-string for TXT. */
  readonly text: string
}

export interface DnsReply {
  readonly id: number
  readonly rcode: number
  /** A and TXT records of all sections, in order. */
  readonly records: readonly DnsRecord[]
}

/** A query for one name. Labels of 1..63 bytes of ASCII; throws RangeError on others. */
export function encodeQuery(id: number, name: string, type: number): Buffer {
  const header = Buffer.alloc(HEADER_BYTES)
  header.writeUInt16BE(id, 0)
  header.writeUInt16BE(FLAG_RECURSION_DESIRED, 2)
  header.writeUInt16BE(1, 4)
  const tail = Buffer.alloc(4)
  tail.writeUInt16BE(type, 0)
  tail.writeUInt16BE(CLASS_IN, 2)
  return Buffer.concat([header, encodeName(name), tail])
}

/**
 * The reply to a query: for type A the address, with the TXT record in the additional section; for
 * TXT that record; for ANY both; for other types an empty answer. A query that is malformed or not
 * a standard one gets FORMERR or NOTIMP. undefined: not a query at all, to be left unanswered
 * (answering a reply would make two servers talk to each other for ever).
 */
export function answerQuery(query: Buffer, address: string, txt: string): Buffer | undefined {
  if (query.length < HEADER_BYTES) return undefined
  const flags = query.readUInt16BE(2)
  if ((flags & FLAG_REPLY) !== 0) return undefined
  if ((flags & OPCODE_MASK) !== 0) return replyHeader(query, RCODE_NOT_IMPLEMENTED)
  const questionEnd = query.readUInt16BE(4) === 1 ? endOfQuestion(query) : undefined
  if (questionEnd === undefined) return replyHeader(query, RCODE_FORMAT_ERROR)

  const type = query.readUInt16BE(questionEnd - 4)
  const addressRecord = encodeRecord(TYPE_A, Buffer.from(address.split('.').map(Number)))
  const text = Buffer.from(txt, 'ascii').subarray(0, 255)
  const txtRecord = encodeRecord(TYPE_TXT, Buffer.concat([Buffer.of(text.length), text]))
  const answers = [
    ...(type === TYPE_A || type === TYPE_ANY ? [addressRecord] : []),
    ...(type === TYPE_TXT || type === TYPE_ANY ? [txtRecord] : []),
  ]
  const additional = type === TYPE_A ? [txtRecord] : []

  const header = replyHeader(query, RCODE_NO_ERROR)
  header.writeUInt16BE(1, 4)
  header.writeUInt16BE(answers.length, 6)
  header.writeUInt16BE(additional.length, 10)
  const question = query.subarray(HEADER_BYTES, questionEnd)
  return Buffer.concat([header, question, ...answers, ...additional])
}

/** Reads a reply; undefined when it is not one or is cut off. */
export function parseReply(reply: Buffer): DnsReply | undefined {
  if (reply.length < HEADER_BYTES) return undefined
  const flags = reply.readUInt16BE(2)
  if ((flags & FLAG_REPLY) === 0) return undefined
  const questions = reply.readUInt16BE(4)
  let offset: number | undefined = HEADER_BYTES
  if (questions === 1) offset = endOfQuestion(reply)
  else if (questions > 1) return undefined
  const count = reply.readUInt16BE(6) + reply.readUInt16BE(8) + reply.readUInt16BE(10)
  const records: DnsRecord[] = []
  for (let index = 0; index < Math.min(count, MAX_RECORDS); index++) {
    offset = offset === undefined ? undefined : readRecord(reply, offset, records)
  }
  if (offset === undefined) return undefined
  return { id: reply.readUInt16BE(0), rcode: flags & 0x000f, records }
}

function encodeName(name: string): Buffer {
  const labels = name.split('.').map((label) => Buffer.from(label, 'ascii'))
  const parts = labels.flatMap((label) => {
    if (label.length < 1 || label.length > MAX_LABEL_BYTES) {
      throw new RangeError(`DNS name "${name}": a label has 1 to ${MAX_LABEL_BYTES} bytes`)
    }
    return [Buffer.of(label.length), label]
  })
  const bytes = Buffer.concat([...parts, Buffer.of(0)])
  if (bytes.length > MAX_NAME_BYTES) throw new RangeError(`DNS name "${name}": over 255 bytes`)
  return bytes
}

/** A record of class IN about the question's name, to be cached for 0 s: every answer may differ. */
function encodeRecord(type: number, rdata: Buffer): Buffer {
  const head = Buffer.alloc(12)
  head.writeUInt16BE(POINTER_TO_QUESTION, 0)
  head.writeUInt16BE(type, 2)
  head.writeUInt16BE(CLASS_IN, 4)
  head.writeUInt32BE(0, 6)
  head.writeUInt16BE(rdata.length, 10)
  return Buffer.concat([head, rdata])
}

function replyHeader(query: Buffer, rcode: number): Buffer {
  const header = Buffer.alloc(HEADER_BYTES)
  query.copy(header, 0, 0, 2)
  const kept = query.readUInt16BE(2) & (OPCODE_MASK | FLAG_RECURSION_DESIRED)
  header.writeUInt16BE(FLAG_REPLY | FLAG_AUTHORITATIVE | kept | rcode, 2)
  return header
}

/** Offset behind name, type and class of the question; undefined when the message ends before. */
function endOfQuestion(message: Buffer): number | undefined {
  const nameEnd = skipName(message, HEADER_BYTES)
  if (nameEnd === undefined || nameEnd + 4 > message.length) return undefined
  return nameEnd + 4
}

/** Offset behind the name at `offset`. A pointer ends a name; it is not followed. */
function skipName(message: Buffer, offset: number): number | undefined {
  let at = offset
  while (at < message.length && at - offset < MAX_NAME_BYTES) {
    const length = message.readUInt8(at)
    if (length === 0) return at + 1
    if (length >= 0xc0) return at + 2 <= message.length ? at + 2 : undefined
    if (length > MAX_LABEL_BYTES) return undefined
    at += 1 + length
  }
  return undefined
}

/** Appends the record at `offset` when it is an A or TXT of class IN; returns where the next one begins. */
function readRecord(message: Buffer, offset: number, records: DnsRecord[]): number | undefined {
  const fields = skipName(message, offset)
  if (fields === undefined || fields + 10 > message.length) return undefined
  const type = message.readUInt16BE(fields)
  const rdata = fields + 10
  const end = rdata + message.readUInt16BE(fields + 8)
  if (end > message.length) return undefined
  if (message.readUInt16BE(fields + 2) !== CLASS_IN) return end
  if (type === TYPE_A && end - rdata === 4) {
    records.push({ type, text: message.subarray(rdata, end).join('.') })
  } else if (type === TYPE_TXT && end > rdata) {
    const textEnd = rdata + 1 + message.readUInt8(rdata)
    if (textEnd > end) return undefined
    records.push({ type, text: message.toString('ascii', rdata + 1, textEnd) })
  }
  return end
}
