"use strict";
// Correction: the package accepts anything. The service's limits on items and requests:
// https://learn.microsoft.com/azure/cosmos-db/concepts-limits

const { badRequest, tooLarge } = require("./failures");

const ITEM_BYTES = 2 * 1024 * 1024;
const BATCH_BYTES = 2 * 1024 * 1024;
const BATCH_OPERATIONS = 100;
const PATCH_OPERATIONS = 10;

function checkItemSize(document) {
  // A string of n UTF-16 units has at most 3n bytes, so the exact count is only needed for large ones.
  const text = JSON.stringify(document);
  if (text.length * 3 > ITEM_BYTES && Buffer.byteLength(text) > ITEM_BYTES) {
    throw tooLarge("Request size is too large: an item is limited to 2 MB.");
  }
}

function checkBatch(operations) {
  if (!Array.isArray(operations) || operations.length === 0) throw badRequest("A batch needs at least one operation.");
  if (operations.length > BATCH_OPERATIONS) {
    throw badRequest(`Batch request has more operations than what is supported: ${BATCH_OPERATIONS}.`);
  }
  if (Buffer.byteLength(JSON.stringify(operations)) > BATCH_BYTES) {
    throw tooLarge("Request size is too large: a batch is limited to 2 MB.");
  }
}

function checkPatch(operations) {
  if (!Array.isArray(operations) || operations.length === 0) throw badRequest("A patch needs at least one operation.");
  if (operations.length > PATCH_OPERATIONS) {
    throw badRequest(`The number of patch operations can't exceed ${PATCH_OPERATIONS}.`);
  }
}

module.exports = { checkItemSize, checkBatch, checkPatch };
