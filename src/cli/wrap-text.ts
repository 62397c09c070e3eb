/** Lines of at most that many columns where words allow it; a `|` stays at the end of its line. */
export function wrapText(text: string, columns: number, between: ' ' | '|' = ' '): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(between)) {
    if (line !== '' && line.length + word.length + 1 > columns) {
      lines.push(between === '|' ? `${line}|` : line)
      line = ''
    }
    line = line === '' ? word : `${line}${between}${word}`
  }
  return [...lines, line]
}
