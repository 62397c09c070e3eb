// A balancer for kube-sluice: fills endpoints one after the other, up to a number of connections
// each, so that the last ones stay idle and can be taken away (HAProxy's `balance first`).
//   kube-sluice run --balancer-plugin balancer-first.mjs --default-balancer plugin ...
export const name = 'first'

const FULL = 100

export function createBalancer() {
  let endpoints = []
  const open = new Map()
  return {
    setEndpoints(list, states) {
      endpoints = list
      for (const id of open.keys()) if (!list.some((one) => one.id === id)) open.delete(id)
      for (const endpoint of list) open.set(endpoint.id, states.openOf(endpoint))
    },
    pick(context, tried) {
      const left = endpoints.filter((one) => !tried.some(({ id }) => id === one.id))
      return left.find(({ id, weight }) => open.get(id) < FULL * weight) ?? left.at(-1)
    },
    onConnect({ id }) {
      if (open.has(id)) open.set(id, open.get(id) + 1)
    },
    onClose({ id }) {
      if (open.has(id)) open.set(id, Math.max(0, open.get(id) - 1))
    },
  }
}
