/** Colours of a terminal. Text is cut to its width first and painted last: a sequence is no column. */
export type Paint = 'plain' | 'bold' | 'dim' | 'green' | 'red' | 'yellow'

const SGR: Readonly<Record<Paint, string>> = {
  plain: '',
  bold: '1',
  dim: '2',
  green: '32',
  red: '31',
  yellow: '33',
}

export function painted(text: string, paint: Paint, hasColour: boolean): string {
  const code = SGR[paint]
  return hasColour && code !== '' && text !== '' ? `\u001b[${code}m${text}\u001b[0m` : text
}

/** Only on a terminal that has some. https://no-color.org: NO_COLOR that is not empty means none. */
export function hasColour(
  { isTTY }: { readonly isTTY?: boolean },
  env: Readonly<Record<string, string | undefined>> = process.env,
): boolean {
  return isTTY === true && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb'
}
