/** Small charts as SVG: their looks are the style sheet's. */
import { linePath } from './line-path.js'

const SVG = 'http://www.w3.org/2000/svg'

export function svg(name: string, attributes: Readonly<Record<string, string>> = {}): SVGElement {
  const element = document.createElementNS(SVG, name)
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value)
  return element
}

/** A chart of one or two lines over the last minutes. */
export class Chart {
  readonly element: SVGElement
  readonly #lines: SVGElement[]
  readonly #area: SVGElement
  readonly #slots: number
  readonly #size: { readonly width: number; readonly height: number }

  constructor(slots: number, lines: number, size = { width: 240, height: 44 }) {
    this.#slots = slots
    this.#size = size
    this.element = svg('svg', {
      class: 'chart',
      viewBox: `0 0 ${size.width} ${size.height}`,
      preserveAspectRatio: 'none',
      'aria-hidden': 'true',
    })
    this.#area = svg('path', { class: 'area' })
    this.#lines = Array.from({ length: lines }, (_, index) =>
      svg('path', { class: `line line-${index}` }),
    )
    const { width, height } = size
    const base = svg('path', { class: 'base', d: `M0 ${height - 0.5}H${width}` })
    this.element.append(base, this.#area, ...[...this.#lines].reverse())
  }

  draw(series: readonly (readonly (number | null)[])[]): void {
    const max = Math.max(
      0,
      ...series.map((values) => Math.max(0, ...values.map((value) => value ?? 0))),
    )
    const { width, height } = this.#size
    for (const [index, line] of this.#lines.entries()) {
      const values = series[index] ?? []
      const path = linePath(values, { ...this.#size, slots: this.#slots, max })
      line.setAttribute('d', path)
      if (index > 0 || values.includes(null)) continue
      const left = (width - (width / Math.max(1, this.#slots - 1)) * (values.length - 1)).toFixed(1)
      this.#area.setAttribute(
        'd',
        path === '' ? '' : `${path}L${width} ${height}L${left} ${height}Z`,
      )
    }
  }
}
