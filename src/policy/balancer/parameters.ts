/** What the parameters of balancers may be: the same for an option and for an annotation. */
import { duration, integer, type ValueType } from '../../config/value-type.js'
import { isPrime, primeFrom } from '../../lib/prime.js'

const MIN_TABLE = 251
const MAX_TABLE = 1_048_573

/** Places of a Maglev table: a prime, or the orders of the endpoints would not reach every place. */
export const MAGLEV_TABLE_SIZE: ValueType<number> = {
  placeholder: 'PRIME',
  range: `${MIN_TABLE} to ${MAX_TABLE}`,
  json: { type: 'integer', minimum: MIN_TABLE, maximum: MAX_TABLE },
  parse: (given) => {
    const parsed = integer(MIN_TABLE, MAX_TABLE).parse(given)
    if ('problem' in parsed || isPrime(parsed.value)) return parsed
    return { problem: `is not a prime; the next one is ${primeFrom(parsed.value)}` }
  },
}

/** Percent of its share that an endpoint may have; 0 for no bound (HAProxy: 0, or above 100). */
export const HASH_BALANCE_FACTOR: ValueType<number> = {
  placeholder: 'PERCENT',
  range: '0, or 101 to 10000',
  json: { type: 'integer', minimum: 0, maximum: 10_000 },
  parse: (given) => {
    if (given === '0') return { value: 0 }
    const parsed = integer(101, 10_000).parse(given)
    return 'value' in parsed
      ? parsed
      : { problem: 'is neither 0 nor a whole number from 101 to 10000' }
  },
}

export const PEAK_EWMA_DECAY = duration('10ms', '1h')
export const SLOW_START = duration('0s', '24h')
/** Percent of its weight that an endpoint begins with. */
export const SLOW_START_FLOOR = integer(1, 100)
