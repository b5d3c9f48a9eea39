"use strict";
// The six operations on one document. Each takes a target {collection, store, key} and an input, and returns
// {statusCode, body}; refusals are thrown. A request and an operation of a batch come here alike, so they cannot differ.

const { badRequest, notFound, conflict, preconditionFailed } = require("./failures");
const { keyOfDocument } = require("./partition-key");
const { patched, checkCondition } = require("./patch");

/** The document that a write brings, checked against the partition that the request names. */
function contentOf(target, content) {
  if (typeof content !== "object" || content === null) throw badRequest("The document is not a JSON object.");
  if (typeof content.id !== "string" || content.id === "") throw badRequest("The document has no id, or one that is no string.");
  const key = keyOfDocument(content, target.collection.read());
  if (target.key !== undefined && target.key !== key) {
    throw badRequest("PartitionKey extracted from document doesn't match the one specified in the header.");
  }
  return { content, key };
}

// Correction: the package reads a property of a missing document and answers 500; the service answers 404.
function existing(target, id) {
  if (target.key === undefined) throw badRequest("The request names no partition key.");
  const document = target.store.get(target.key, id, target.collection.read());
  if (document === undefined) throw notFound();
  return document;
}

function checkMatch(ifMatch, document) {
  if (ifMatch !== undefined && ifMatch !== "*" && ifMatch !== document._etag) {
    throw preconditionFailed("One of the specified pre-condition is not met.");
  }
}

function create(target, { resourceBody }) {
  const { content, key } = contentOf(target, resourceBody);
  if (target.store.get(key, content.id, target.collection.read()) !== undefined) {
    throw conflict("Entity with the specified id already exists in the system.");
  }
  return { statusCode: 201, body: target.store.put(content, undefined, target.collection) };
}

function upsert(target, { resourceBody, ifMatch }) {
  const { content, key } = contentOf(target, resourceBody);
  const previous = target.store.get(key, content.id, target.collection.read());
  if (previous !== undefined) checkMatch(ifMatch, previous);
  return { statusCode: previous ? 200 : 201, body: target.store.put(content, previous, target.collection) };
}

function read(target, { id, ifNoneMatch }) {
  const document = existing(target, id);
  if (ifNoneMatch === document._etag || ifNoneMatch === "*") return { statusCode: 304, etag: document._etag };
  return { statusCode: 200, body: document };
}

function replace(target, { id, resourceBody, ifMatch }) {
  const { content } = contentOf(target, resourceBody);
  const previous = existing(target, id);
  if (content.id !== id) throw badRequest("The id of a document can't be changed.");
  checkMatch(ifMatch, previous);
  return { statusCode: 200, body: target.store.put(content, previous, target.collection) };
}

function remove(target, { id, ifMatch }) {
  const previous = existing(target, id);
  checkMatch(ifMatch, previous);
  target.store.remove(previous, target.collection);
  return { statusCode: 204 };
}

function patch(target, { id, resourceBody, ifMatch }) {
  // The body of a patch is the list of operations, or that list with a predicate.
  const { operations, condition } = Array.isArray(resourceBody) ? { operations: resourceBody } : resourceBody ?? {};
  const previous = existing(target, id);
  checkMatch(ifMatch, previous);
  checkCondition(condition, previous);
  const content = patched(previous, operations, target.collection.read());
  return { statusCode: 200, body: target.store.put(content, previous, target.collection) };
}

module.exports = { Create: create, Upsert: upsert, Read: read, Replace: replace, Delete: remove, Patch: patch };
