/** Numbers and times as the page shows them: short, and of the same width as their neighbours. */

const GROUPED = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })

/** `0`, `9,876`, `12.3k`, `4.56M` */
export function count(value: number): string {
  if (value < 10_000) return GROUPED.format(value)
  if (value < 999_950) return `${(value / 1e3).toFixed(value < 99_950 ? 1 : 0)}k`
  if (value < 999_500_000) return `${(value / 1e6).toFixed(2)}M`
  return `${(value / 1e9).toFixed(2)}G`
}

/** Per second: `0`, `0.4`, `12`, `1,234` */
export function rate(value: number): string {
  if (value === 0) return '0'
  return value < 10 ? value.toFixed(1) : count(value)
}

/** Microseconds: `8 µs`, `1.2 ms`, `1.5 s` */
export function micros(value: number | null): string {
  if (value === null) return '–'
  if (value < 1000) return `${value < 10 ? value.toFixed(1) : value.toFixed(0)} µs`
  if (value < 1e6) return `${(value / 1e3).toFixed(1)} ms`
  return `${(value / 1e6).toFixed(1)} s`
}

/** Seconds: `12 s`, `3 min`, `4 h 05 min`, `6 d 3 h` */
export function duration(seconds: number): string {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  if (hours < 24) return `${hours} h ${String(minutes % 60).padStart(2, '0')} min`
  return `${Math.floor(hours / 24)} d ${hours % 24} h`
}

/** Local time of day: `14:05:09` */
export function time(ms: number): string {
  const date = new Date(ms)
  return [date.getHours(), date.getMinutes(), date.getSeconds()]
    .map((part) => String(part).padStart(2, '0'))
    .join(':')
}
