/** Light or dark: as the system has it, until the button says otherwise; remembered by the browser. */

const KEY = 'kube-sluice-theme'

export function setUpTheme(button: HTMLButtonElement): void {
  const dark = matchMedia('(prefers-color-scheme: dark)')
  let chosen = remembered()
  const show = (): void => {
    const theme = chosen ?? (dark.matches ? 'dark' : 'light')
    document.documentElement.dataset['theme'] = theme
    const other = theme === 'dark' ? 'light' : 'dark'
    button.title = `Go over to ${other} (t)`
    button.setAttribute('aria-label', `Go over to the ${other} theme`)
    button.textContent = theme === 'dark' ? '☀' : '☾'
  }
  dark.addEventListener('change', show)
  button.addEventListener('click', () => {
    chosen = document.documentElement.dataset['theme'] === 'dark' ? 'light' : 'dark'
    try {
      localStorage.setItem(KEY, chosen)
    } catch {
      // A browser that keeps nothing.
    }
    show()
  })
  show()
}

function remembered(): 'light' | 'dark' | undefined {
  try {
    const theme = localStorage.getItem(KEY)
    return theme === 'light' || theme === 'dark' ? theme : undefined
  } catch {
    return undefined
  }
}
