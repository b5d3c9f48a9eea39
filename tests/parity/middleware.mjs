// Tells which nodes the middleware of the original wraps. One line: a list of what it heard, in order.

import { FlowRuntime } from 'flowcraft'

console.error = () => {}
const { blueprint, child } = JSON.parse(process.argv[2])
const heard = []
const work = async ({ input }) => ({ output: input ?? [1] })
const middleware = {
  beforeNode: async (_, id) => void heard.push(`before ${id}`),
  afterNode: async (_, id) => void heard.push(`after ${id}`),
}
const runtime = new FlowRuntime({ registry: { work }, blueprints: { [child.id]: child }, middleware: [middleware] })
const waiting = await runtime.run(blueprint, {})
heard.push(waiting.status)
const ended = await runtime.resume(blueprint, waiting.serializedContext, { output: 'yes' }, 'ask')
heard.push(ended.status)
process.stdout.write(JSON.stringify(heard) + '\n')
