"use strict";
// Partial document update: https://learn.microsoft.com/azure/cosmos-db/partial-document-update
//
// Corrections: the package refuses every path that begins with an underscore (the service refuses only its own system
// properties), and it lower-cases the predicate, values included, before it evaluates it.

const { badRequest, preconditionFailed } = require("./failures");
const { keyPaths } = require("./partition-key");
const { checkPatch } = require("./limits");
const { execute } = require("./query-engine");

const SYSTEM_PROPERTIES = ["/_rid", "/_self", "/_etag", "/_ts", "/_attachments"];

const isContainer = value => typeof value === "object" && value !== null;

/** Segments of a JSON pointer (RFC 6901). */
function segments(path) {
  if (typeof path !== "string" || !/^\/./.test(path)) throw badRequest(`The patch path '${path}' is invalid.`);
  return path.slice(1).split("/").map(segment => segment.replace(/~1/g, "/").replace(/~0/g, "~"));
}

function locate(document, path) {
  const names = segments(path);
  const name = names.pop();
  const parent = names.reduce((value, step) => (isContainer(value) ? value[step] : undefined), document);
  if (!isContainer(parent)) throw badRequest(`The parent of '${path}' does not exist; a patch creates no path recursively.`);
  return { parent, name, exists: Object.hasOwn(parent, name) };
}

function indexIn(array, name, limit) {
  const index = name === "-" ? array.length : Number(name);
  if (!/^(-|\d+)$/.test(name) || index > limit) throw badRequest(`The array index '${name}' is out of bounds.`);
  return index;
}

function add(document, { path, value }) {
  const { parent, name } = locate(document, path);
  if (Array.isArray(parent)) parent.splice(indexIn(parent, name, parent.length), 0, value);
  else parent[name] = value;
}

function set(document, { path, value }) {
  const { parent, name } = locate(document, path);
  if (Array.isArray(parent)) parent[indexIn(parent, name, parent.length - 1)] = value;
  else parent[name] = value;
}

function replace(document, { path, value }) {
  const { parent, name, exists } = locate(document, path);
  if (!exists) throw badRequest(`The node '${path}' to be replaced is absent.`);
  parent[name] = value;
}

function remove(document, { path }) {
  const { parent, name, exists } = locate(document, path);
  if (!exists) throw badRequest(`The node '${path}' to be removed is absent.`);
  const value = parent[name];
  if (Array.isArray(parent)) parent.splice(Number(name), 1);
  else delete parent[name];
  return value;
}

function incr(document, { path, value }) {
  const { parent, name, exists } = locate(document, path);
  if (typeof value !== "number") throw badRequest("An increment must be a number.");
  if (exists && typeof parent[name] !== "number") throw badRequest(`The node '${path}' to be incremented is no number.`);
  parent[name] = (exists ? parent[name] : 0) + value;
}

function move(document, { path, from }) {
  if (path === from || String(path).startsWith(`${from}/`)) throw badRequest(`'${from}' can't be moved into itself.`);
  add(document, { path, value: remove(document, { path: from }) });
}

const OPERATIONS = { add, set, replace, remove, incr, move };

function checkPath(path, definition) {
  const protectedPaths = [...SYSTEM_PROPERTIES, "/id", ...keyPaths(definition)];
  const hit = protectedPaths.find(taken => path === taken || String(path).startsWith(`${taken}/`));
  if (hit !== undefined) throw badRequest(`Can't patch '${hit}'.`);
}

/** Refuses the patch unless the predicate (`from c where ...`) holds for this very document. */
function checkCondition(condition, document) {
  if (condition === undefined || condition === null) return;
  if (execute(`SELECT * ${condition}`, [document]).result.length === 0) {
    throw preconditionFailed("Condition specified in the patch request is not satisfied.");
  }
}

/** A patched copy of the document; the document itself stays as it is. */
function patched(document, operations, definition) {
  checkPatch(operations);
  const copy = structuredClone(document);
  operations.forEach((operation, index) => {
    const apply = Object.hasOwn(OPERATIONS, operation.op) ? OPERATIONS[operation.op] : undefined;
    if (apply === undefined) throw badRequest(`Operation ${index}: '${operation.op}' is not a patch operation.`);
    checkPath(operation.path, definition);
    if (operation.from !== undefined) checkPath(operation.from, definition);
    apply(copy, operation);
  });
  return copy;
}

module.exports = { patched, checkCondition };
