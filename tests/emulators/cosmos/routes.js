"use strict";
// Which request goes where: databases and containers to the package, documents and the account to us.

const { router, handler } = require("./upstream");
const { documentRoutes } = require("./documents");

/**
 * Correction: the package names `https` and its bind address as the account's region, whatever it listens on. A client that
 * follows it then leaves the address that it was given, so we name the scheme and host by which this request came.
 */
function accountInfo(account, request) {
  const scheme = request.socket.encrypted ? "https" : "http";
  const location = { name: "Local", databaseAccountEndpoint: `${scheme}://${request.headers.host}/` };
  return { ...account.read(), writableLocations: [location], readableLocations: [location] };
}

function deleteContainer(stores) {
  const remove = handler("delete-collection");
  return (account, request, response, params) => {
    const collection = account.database(params.dbId).collection(params.collId);
    if (collection.read()) stores.drop(collection);
    return remove(account, request, response, params);
  };
}

function deleteDatabase(stores) {
  const remove = handler("delete-database");
  return (account, request, response, params) => {
    const database = account.database(params.dbId);
    if (database.read()) for (const { id } of database.collections.read().result) stores.drop(database.collection(id));
    return remove(account, request, response, params);
  };
}

const database = "/dbs/:dbId";
const containers = `${database}/colls`;
const container = `${containers}/:collId`;

function containerRoutes(stores) {
  return {
    GET: {
      "/": accountInfo,
      "/dbs": handler("read-databases"),
      [database]: handler("read-database"),
      [containers]: handler("read-collections"),
      [container]: handler("read-collection"),
      [`${container}/pkranges`]: handler("read-partition-key-ranges"),
    },
    POST: { "/dbs": handler("create-database"), [containers]: handler("create-collection") },
    POST_QUERY: { "/dbs": handler("query-databases"), [containers]: handler("query-collections") },
    PUT: { [container]: handler("replace-collection") },
    DELETE: { [database]: deleteDatabase(stores), [container]: deleteContainer(stores) },
  };
}

/** A function from a request to [params, handler], or undefined. */
function routes(stores) {
  const merged = documentRoutes(stores);
  for (const [method, rules] of Object.entries(containerRoutes(stores))) merged[method] = { ...merged[method], ...rules };
  return router(merged);
}

module.exports = { routes };
