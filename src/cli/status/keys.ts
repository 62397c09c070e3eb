/** The keys in what a terminal in raw mode has sent: `q`, `escape`, `up`, `ctrl-c`, ... Pure. */

const SEQUENCES: Readonly<Record<string, string>> = {
  '[A': 'up',
  '[B': 'down',
  OA: 'up',
  OB: 'down',
  '[5~': 'pageup',
  '[6~': 'pagedown',
  '[H': 'home',
  '[F': 'end',
  '[1~': 'home',
  '[4~': 'end',
  OH: 'home',
  OF: 'end',
}

const CONTROLS: Readonly<Record<string, string>> = {
  '\u0003': 'ctrl-c',
  '\r': 'enter',
  '\n': 'enter',
  '\b': 'backspace',
  '\u007f': 'backspace',
}

/** ECMA-48 control sequences (CSI), and the SS3 ones of application mode. */
const SEQUENCE = /^\u001b(\[[0-9;?]*[ -/]*[@-~]|O[A-Z])/

export function keysOf(text: string): string[] {
  const keys: string[] = []
  for (let rest = text; rest !== '';) {
    const [sequence, name] = SEQUENCE.exec(rest) ?? []
    if (sequence !== undefined) {
      const key = SEQUENCES[name ?? '']
      if (key !== undefined) keys.push(key)
      rest = rest.slice(sequence.length)
      continue
    }
    const [character = ''] = rest
    rest = rest.slice(character.length)
    if (character === '\u001b') keys.push('escape')
    else if (character >= ' ' && character !== '\u007f') keys.push(character)
    else keys.push(...[CONTROLS[character] ?? []].flat())
  }
  return keys
}
