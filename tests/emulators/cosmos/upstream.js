"use strict";
// The parts of the third-party package that we keep, in one place: databases, containers, their routes, resource ids
// and the query language. Everything about *documents* (storage, point operations, patch, batch, partition queries)
// is ours, because that is where the package departs from the service.

const path = require("node:path");

const root = path.dirname(require.resolve("@vercel/cosmosdb-server"));
const load = name => require(path.join(root, name));

module.exports = {
  Account: load("account").default,
  router: load("router").default,
  readJson: load("json").default,
  readPaged: load("handler/_read-items").default,
  handler: name => load(`handler/${name}`).default,
  certificate: { cert: path.join(root, "..", "cert.pem"), key: path.join(root, "..", "key.pem") },
  ...require("@zeit/cosmosdb-query"),
};
