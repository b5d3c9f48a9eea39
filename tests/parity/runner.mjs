// Runs blueprints with the original runtime, in memory. Reads one case a line on stdin, writes one result a line.
//
// A case is {blueprint, input, subflows, answer}. What nodes do is told by their params, see behaviour.py, which does the same
// on the other side. With an answer, {output, action}, a run that awaits is resumed with it until it awaits nothing any more.

import { createInterface } from 'node:readline'
import { BaseNode, FlowcraftError, FlowRuntime } from 'flowcraft'

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

const phases = trace => class extends BaseNode {
  prep(context) { return this.do('prep', context.input, context) }
  async exec(prepared, context) {
    return { output: await this.do('exec', prepared, context), action: this.params.action }
  }
  async post(result, context) {
    return { output: await this.do('post', result.output, context), action: result.action }
  }
  async fallback(error, context) {
    const output = await this.do('fallback', null, context)
    if (!this.params.fallback) throw error
    return { output }
  }
  async recover(error, context) { await this.do('recover', null, context) }

  async do(phase, value, { context }) {
    const said = this.params[phase] ?? {}
    const name = `${this.params.node}.${phase}`
    trace.calls.push([name, plain(value)])
    trace.seen[name] = (trace.seen[name] ?? 0) + 1
    if (trace.seen[name] <= (said.fails ?? 0)) throw new FlowcraftError(`${name} fails`, { isFatal: said.fatal ?? false })
    for (const [key, kept] of Object.entries(said.set ?? {})) await context.set(key, kept)
    return said.gives ? said.gives.value : value
  }
}

// A copy as JSON has it; what is undefined is null, so that both sides say the same.
const plain = value => JSON.parse(JSON.stringify(value ?? null, (_, item) => (item === undefined ? null : item)))

// Resumes a run that awaits: with the answer, and what sleeps when its time has come, until nothing is awaited any more.
async function answered(runtime, blueprint, first, { output }) {
  let result = first
  for (let turn = 0; result.status === 'awaiting' && turn < 50; turn++) {
    const ids = result.context._awaitingNodeIds
    const sleeps = id => result.context._awaitingDetails?.[id]?.reason === 'timer'
    const id = ids.find(each => !sleeps(each)) ?? ids[0]
    if (sleeps(id)) {
      const left = new Date(result.context._awaitingDetails[id].wakeUpAt) - Date.now()
      await new Promise(resolve => setTimeout(resolve, Math.max(left, 0)))
    }
    const data = sleeps(id) ? { output: undefined } : { output, action: 'yes' }
    result = await runtime.resume(structuredClone(blueprint), result.serializedContext, data, id)
  }
  return result
}

async function run({ blueprint, input, subflows, answer }) {
  const trace = { calls: [], seen: {} }
  const blueprints = Object.fromEntries((subflows ?? []).map(each => [each.id, each]))
  const runtime = new FlowRuntime({ registry: { act: act(trace), item: item(trace), phases: phases(trace) }, blueprints })
  let result = await runtime.run(blueprint, input, { concurrency: 16 })
  if (answer) result = await answered(runtime, blueprint, result, answer)
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
