"use strict";
// The routes of documents: from an HTTP request to an operation, a batch or a query, and back.

const operations = require("./operations");
const { batch } = require("./batch");
const { execute, compile } = require("./query-engine");
const { badRequest, notFound } = require("./failures");
const { keyOfRequest, keyPaths } = require("./partition-key");
const { readJson, readPaged } = require("./upstream");

const isTrue = (request, name) => String(request.headers[name]).toLowerCase() === "true";
const wantsMinimal = request => /return=minimal/i.test(request.headers.prefer ?? "");

async function bodyOf(request) {
  try {
    return await readJson(request);
  } catch (error) {
    throw badRequest(`The body is not JSON: ${error.message}`);
  }
}

/** Routes over the given stores, to be merged into the package's own. */
function documentRoutes(stores) {
  function targetOf(account, request, { dbId, collId }) {
    const collection = account.database(dbId).collection(collId);
    if (!collection.read()) throw notFound();
    return { collection, store: stores.of(collection), key: keyOfRequest(request, collection.read()) };
  }

  // The container's log sequence number, as session tokens of a single partition range name it.
  const stamp = (response, { store }) => response.setHeader("x-ms-session-token", `0:-1#${store.writes}`);

  const single = (type, hasBody) => async (account, request, response, params) => {
    const resourceBody = hasBody ? await bodyOf(request) : undefined;
    const target = targetOf(account, request, params);
    const outcome = operations[type](target, {
      id: params.docId,
      resourceBody,
      ifMatch: request.headers["if-match"],
      ifNoneMatch: request.headers["if-none-match"],
    });
    const etag = outcome.body?._etag ?? outcome.etag;
    if (etag !== undefined) response.setHeader("etag", etag);
    response.statusCode = outcome.statusCode;
    stamp(response, target);
    return type !== "Read" && wantsMinimal(request) ? undefined : outcome.body;
  };

  const transaction = async (account, request, response, params) => {
    const inputs = await bodyOf(request);
    const target = targetOf(account, request, params);
    const outcome = batch(target, inputs, { minimal: wantsMinimal(request) });
    response.statusCode = outcome.statusCode;
    stamp(response, target);
    return outcome.body;
  };

  // Correction: in the package a query with a partition key sees the other partitions too.
  const select = (target, sql, parameters, paging) => {
    const definition = target.collection.read();
    return execute(sql, target.store.scan(target.key, definition), {
      parameters,
      udf: target.collection.userDefinedFunctions.functions,
      compositeIndexes: definition.indexingPolicy?.compositeIndexes ?? [],
      ...paging,
    });
  };

  const query = (account, request, response, params) =>
    readPaged(request, response, "Documents", async paging => {
      const { query: sql, parameters } = await bodyOf(request);
      if (typeof sql !== "string") throw badRequest("The body has no query.");
      const target = targetOf(account, request, params);
      const acrossPartitions = isTrue(request, "x-ms-documentdb-query-enablecrosspartition");
      if (target.key === undefined && !acrossPartitions) {
        const paths = keyPaths(target.collection.read());
        if (!compile(sql).containsPartitionKeys(paths)) throw badRequest("Cross partition query is required but disabled.");
      }
      stamp(response, target);
      return select(target, sql, parameters, paging);
    });

  const list = (account, request, response, params) =>
    readPaged(request, response, "Documents", async paging => {
      const target = targetOf(account, request, params);
      stamp(response, target);
      return select(target, "SELECT * FROM c", [], paging);
    });

  const all = "/dbs/:dbId/colls/:collId/docs";
  const one = `${all}/:docId`;
  return {
    GET: { [one]: single("Read", false), [all]: list },
    PUT: { [one]: single("Replace", true) },
    PATCH: { [one]: single("Patch", true) },
    DELETE: { [one]: single("Delete", false) },
    POST: { [all]: single("Create", true) },
    POST_UPSERT: { [all]: single("Upsert", true) },
    POST_QUERY: { [all]: query },
    POST_BATCH: { [all]: transaction },
  };
}

module.exports = { documentRoutes };
