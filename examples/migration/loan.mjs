// A workflow of the original, in TypeScript's sister language, as it stands in somebody's repository. `node loan.mjs`
// prints its blueprint; that is blueprint.json, which is all that moves.

import { BaseNode, createFlow } from 'flowcraft'

class ReadApplication extends BaseNode {
  async exec() { return { name: 'ada', asked: 0 } }
}

class AskBureau extends BaseNode {
  async prep(context) { return context.input }
  async exec(last) {
    const asked = last.asked + 1
    return { output: { ...last, asked, pending: asked < 3, score: 200 + asked * 170 } }
  }
}

class Decide extends BaseNode {
  async prep(context) { return context.input }
  async exec(found) { return { output: found, action: found.score >= 600 ? 'approve' : 'decline' } }
}

class WriteLetter extends BaseNode {
  async prep(context) { return { text: this.params.text, to: context.input.name } }
  async exec(letter) { return { output: letter } }
}

export const flow = createFlow('loan')
  .node('read', ReadApplication)
  .node('ask', AskBureau, { config: { maxRetries: 3 } })
  .node('decide', Decide)
  .node('approve', WriteLetter, { params: { text: 'We are glad to lend you the money.' } })
  .node('decline', WriteLetter, { params: { text: 'We are sorry.' } })
  .edge('read', 'ask')
  .loop('poll', { startNodeId: 'ask', endNodeId: 'ask', condition: 'ask.pending' })
  .edge('poll', 'decide')
  .edge('decide', 'approve', { action: 'approve' })
  .edge('decide', 'decline', { action: 'decline' })

console.log(JSON.stringify(flow.toBlueprint(), null, 2))
