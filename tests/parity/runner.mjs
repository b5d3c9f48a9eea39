// Runs blueprints with the original runtime, in memory. Reads one case a line on stdin, writes one result a line.
//
// A case is {blueprint, input, subflows}. Every node uses "act", whose behaviour is in the node's params; what it does is told
// in behaviour.py, which does the same on the other side.

import { createInterface } from 'node:readline'
import { FlowcraftError, FlowRuntime } from 'flowcraft'

console.error = () => {} // the runtime tells there of expressions that it does not understand

const act = trace => async ({ input, params, context }) => {
  const { node, early, fails, fatal, output, action, set, delete: gone, reads, makes, takes, turns } = params
  if (takes) await new Promise(resolve => setTimeout(resolve, takes))
  trace.calls.push([node, plain(input)])
  trace.seen[node] = (trace.seen[node] ?? 0) + 1
  for (const [key, value] of Object.entries(early ?? {})) await context.set(key, value)
  if (fatal) throw new FlowcraftError(`${node} gives up`, { isFatal: true })
  if (trace.seen[node] <= (fails ?? 0)) throw new Error(`${node} fails`)
  for (const [key, value] of Object.entries(set ?? {})) await context.set(key, value)
  if (turns) await context.set(turns.key, trace.seen[node] % turns.times !== 0)
  for (const key of gone ?? []) await context.delete(key)
  if (output === 'nothing') return undefined
  if (output === 'reads') {
    const read = {}
    for (const name of reads) read[name] = plain(await context.get(name))
    return { output: read, action, dynamicNodes: makes }
  }
  return { output: output === 'input' ? input : output.value, action, dynamicNodes: makes }
}

const item = trace => async ({ input, context }) => {
  const { item: name, fails, gives, set, value } = input
  trace.calls.push([name, plain(input)])
  if (fails) throw new Error(`${name} fails`)
  for (const [key, kept] of Object.entries(set ?? {})) await context.set(key, kept)
  return gives === 'nothing' ? undefined : { output: gives === 'input' ? input : value }
}

// A copy as JSON has it; what is undefined is null, so that both sides say the same.
const plain = value => JSON.parse(JSON.stringify(value ?? null, (_, item) => (item === undefined ? null : item)))

async function run({ blueprint, input, subflows }) {
  const trace = { calls: [], seen: {} }
  const blueprints = Object.fromEntries((subflows ?? []).map(each => [each.id, each]))
  const runtime = new FlowRuntime({ registry: { act: act(trace), item: item(trace) }, blueprints })
  const result = await runtime.run(blueprint, input, { concurrency: 16 })
  const outputs = {}
  const keys = {}
  for (const [key, value] of Object.entries(result.context)) {
    if (key.startsWith('_outputs.')) outputs[key.slice('_outputs.'.length)] = plain(value)
    else if (!key.startsWith('_')) keys[key] = plain(value)
  }
  const failed = (result.errors ?? []).map(error => error.nodeId)
  return { status: result.status, calls: trace.calls, outputs, keys, failed }
}

for await (const line of createInterface({ input: process.stdin })) {
  let answer
  try {
    answer = await run(JSON.parse(line))
  } catch (error) {
    answer = { status: 'thrown', message: String(error?.message ?? error), calls: [], outputs: {}, keys: {}, failed: [] }
  }
  process.stdout.write(JSON.stringify(answer) + '\n')
}
