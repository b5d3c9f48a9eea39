"use strict";
// Correction: the package ignores time to live. In the service it is off until the container has `defaultTtl`; then an
// item's own `ttl` (seconds after its last write) goes before that default, and -1 means never.

const { badRequest } = require("./failures");

function isExpired(document, definition, nowMs) {
  const byContainer = definition.defaultTtl;
  if (byContainer === undefined || byContainer === null) return false;
  const ttlS = document.ttl ?? byContainer;
  return ttlS > 0 && nowMs >= (document._ts + ttlS) * 1000;
}

function checkTtl(document) {
  const { ttl } = document;
  if (ttl === undefined || ttl === null) return;
  if (!Number.isInteger(ttl) || (ttl <= 0 && ttl !== -1)) {
    throw badRequest(`The input ttl '${ttl}' is invalid. Ensure to provide a nonzero positive integer or -1.`);
  }
}

module.exports = { isExpired, checkTtl };
