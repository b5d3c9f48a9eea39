"use strict";
// The package's query language over an array of documents.
//
// Correction: its generated code copies the whole result for each row (a reduce that spreads its accumulator), so a scan of
// n documents costs n * n. Rows are independent there, so the array we hand in reduces each one into an empty accumulator
// and appends.

const { default: parse, SyntaxError } = require("./upstream");
const { badRequest } = require("./failures");

const REMEMBERED = 200;
const parsed = new Map();

class Rows extends Array {
  static get [Symbol.species]() {
    return Array;
  }

  reduce(expand, initial) {
    if (!Array.isArray(initial) || initial.length > 0) return super.reduce(expand, initial);
    const rows = [];
    for (const document of this) for (const row of expand([], document)) rows.push(row);
    return rows;
  }
}

function compile(sql) {
  let query = parsed.get(sql);
  if (query === undefined) {
    try {
      query = parse(sql);
    } catch (error) {
      if (error instanceof SyntaxError) throw badRequest(`Syntax error: ${error.message}`);
      throw error;
    }
    if (parsed.size >= REMEMBERED) parsed.delete(parsed.keys().next().value);
    parsed.set(sql, query);
  }
  return query;
}

/** Returns {result, continuation}. Options: parameters, udf, maxItemCount, continuation, compositeIndexes. */
function execute(sql, documents, options = {}) {
  const query = compile(sql);
  try {
    return query.exec(Rows.from(documents), options);
  } catch (error) {
    throw badRequest(error.message);
  }
}

module.exports = { compile, execute };
