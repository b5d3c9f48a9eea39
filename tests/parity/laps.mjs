// Times the original runtime in memory. Reads one load a line on stdin, {blueprint, runs}, and writes {seconds} a line.
// Nodes do nothing; one run after the other, as `benchmarks/in_memory.py` does on the other side. A blueprint is kept, as
// a program keeps its own.

import { createInterface } from 'node:readline'
import { FlowRuntime } from 'flowcraft'

const runtime = new FlowRuntime({ registry: { noop: async () => ({ output: null }) } })

const known = new Map()

for await (const line of createInterface({ input: process.stdin })) {
  const { blueprint: given, runs } = JSON.parse(line)
  if (!known.has(given.id)) known.set(given.id, given)
  const blueprint = known.get(given.id)
  const started = process.hrtime.bigint()
  for (let run = 0; run < runs; run++) {
    const result = await runtime.run(blueprint, {}, { concurrency: 16 })
    if (result.status !== 'completed') throw new Error(`a run ended ${result.status}`)
  }
  process.stdout.write(JSON.stringify({ seconds: Number(process.hrtime.bigint() - started) / 1e9 }) + '\n')
}
