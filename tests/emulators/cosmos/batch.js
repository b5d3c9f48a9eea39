"use strict";
// Transactional batch.
//
// Correction: the package ignores the partition of the request, knows no patch, forgets a failure as soon as the next
// operation succeeds, and keeps what the operations before the failed one wrote.

const operations = require("./operations");
const { ServiceError, badRequest } = require("./failures");
const { checkBatch } = require("./limits");

const FAILED_DEPENDENCY = { statusCode: 424, requestCharge: 0 };

function attempt(target, input) {
  try {
    return operations[input.operationType](target, { ...input, id: input.id ?? input.resourceBody?.id });
  } catch (error) {
    if (error instanceof ServiceError) return error;
    throw error;
  }
}

const asEntry = ({ statusCode, body, etag }, minimal) => ({
  statusCode,
  requestCharge: 1,
  eTag: body?._etag ?? etag,
  resourceBody: minimal ? undefined : body,
});

/** Returns {statusCode, body}; the body has one entry for each operation: all done, or none. */
function batch(target, inputs, { minimal }) {
  checkBatch(inputs);
  if (target.key === undefined) throw badRequest("A batch needs a partition key.");
  const unknown = inputs.find(input => !Object.hasOwn(operations, input?.operationType));
  if (unknown !== undefined) throw badRequest(`'${unknown?.operationType}' is not an operation of a batch.`);

  const entries = [];
  let failure = null;
  target.store.atomically(() => {
    for (const input of inputs) {
      const outcome = attempt(target, input);
      if (outcome instanceof ServiceError) {
        failure = { at: entries.length, entry: { statusCode: outcome.statusCode, requestCharge: 0 } };
        return false;
      }
      entries.push(asEntry(outcome, minimal && input.operationType !== "Read"));
    }
    return true;
  });
  if (failure === null) return { statusCode: 200, body: entries };
  return { statusCode: 207, body: inputs.map((_, index) => (index === failure.at ? failure.entry : FAILED_DEPENDENCY)) };
}

module.exports = { batch };
