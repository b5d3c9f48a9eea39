"use strict";
// Partition keys as comparable strings.
//
// Correction: the package takes an item without the partition key for one whose key is its id, so it can be created but
// never read again. In the service it lives in the *None* partition, which clients address as `[{}]` (or `[]`).
// A key that is JSON null is another partition than None.

const { badRequest } = require("./failures");

const HEADER = "x-ms-documentdb-partitionkey";
const NONE = {};

const canonical = components =>
  JSON.stringify(components.map(value => (value === undefined || isObject(value) ? NONE : value)));

const isObject = value => typeof value === "object" && value !== null;

const valueAt = (document, path) =>
  path.slice(1).split("/").reduce((value, name) => (isObject(value) ? value[name] : undefined), document);

/** Paths of the container's partition key, e.g. ["/runId"]. */
const keyPaths = definition => definition.partitionKey?.paths ?? ["/id"];

/** The key that a request names in its header; undefined when it names none. */
function keyOfRequest(request, definition) {
  const header = request.headers[HEADER];
  if (header === undefined) return undefined;
  let components;
  try {
    components = JSON.parse(header);
  } catch {
    throw badRequest(`The partition key header is not JSON: ${header}`);
  }
  if (!Array.isArray(components)) throw badRequest(`The partition key header is not an array: ${header}`);
  const paths = keyPaths(definition);
  if (components.length === 0) return canonical(paths.map(() => NONE));
  if (components.length !== paths.length) {
    throw badRequest(`The partition key has ${components.length} components, the container defines ${paths.length}.`);
  }
  return canonical(components);
}

/** The key that a document carries. */
const keyOfDocument = (document, definition) => canonical(keyPaths(definition).map(path => valueAt(document, path)));

module.exports = { keyOfRequest, keyOfDocument, keyPaths, valueAt };
