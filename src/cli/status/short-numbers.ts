/** Times and rates as columns have them: short. */

/** As kubectl's AGE: `45s`, `12m`, `30h`, `9d`. */
export function age(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds))
  if (whole < 120) return `${whole}s`
  if (whole < 120 * 60) return `${Math.floor(whole / 60)}m`
  if (whole < 48 * 3600) return `${Math.floor(whole / 3600)}h`
  return `${Math.floor(whole / 86_400)}d`
}

/** Per second: `0`, `0.4`, `12`, `1234`; '' when it is not known yet. */
export function perSecond(rate: number | undefined): string {
  if (rate === undefined) return ''
  return rate > 0 && rate < 10 ? rate.toFixed(1) : String(Math.round(rate))
}
