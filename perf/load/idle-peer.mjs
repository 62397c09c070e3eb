/**
 * One end of many idle connections. `serve PORT`: accepts and holds them; `hold HOST PORT COUNT`: opens them,
 * a hundred at a time, and prints how many are open. Both stay until they are ended. `await HOST PORT` ends as soon
 * as something accepts there, after two minutes at the latest.
 */
import { once } from 'node:events'
import { connect, createServer } from 'node:net'

const AT_ONCE = 100
const [role, ...args] = process.argv.slice(2)

if (role === 'serve') {
  createServer((socket) => socket.on('error', () => undefined)).listen({
    port: Number(args[0]),
    backlog: 4096,
  })
} else if (role === 'await') {
  for (let tries = 0; tries < 240; tries++) {
    const socket = connect({ host: args[0], port: Number(args[1]) })
    const isOpen = await once(socket, 'connect').then(
      () => true,
      () => false,
    )
    if (isOpen) process.exit(0)
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
  process.exit(1)
} else {
  const [host, port, count] = [args[0], Number(args[1]), Number(args[2])]
  let open = 0
  const openSome = async () => {
    const socket = connect({ host, port })
    socket.on('error', () => undefined)
    socket.on('close', () => open--)
    await once(socket, 'connect')
    open++
  }
  while (open < count) await Promise.all(Array.from({ length: AT_ONCE }, openSome))
  // One that was reset right after it was accepted is not open.
  setTimeout(() => console.log(open), 2000)
}
