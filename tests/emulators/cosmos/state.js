"use strict";
// What the server holds, in a file: written when it is ended, read when it starts again.
//
// Databases and containers are created again in the order of their resource ids, which are numbered, so that clients
// that remember an id find the same container.

const fs = require("node:fs");

const byRid = (one, other) => (one._rid < other._rid ? -1 : 1);
const contents = items => [...items._data.values()].map(item => item.read());
const named = ({ _rid, _self, _etag, _ts, ...definition }) => definition;

function save(account, stores, file) {
  const databases = contents(account.databases).sort(byRid).map(database => ({
    definition: named(database),
    containers: contents(account.database(database.id).collections).sort(byRid).map(container => ({
      definition: named(container),
      store: stores.of(account.database(database.id).collection(container.id)).toJSON(),
    })),
  }));
  fs.writeFileSync(file, JSON.stringify(databases));
}

/** Does nothing when there is no such file yet. */
function load(account, stores, file) {
  if (!fs.existsSync(file)) return;
  for (const { definition, containers } of JSON.parse(fs.readFileSync(file, "utf8"))) {
    account.databases.create(definition);
    for (const container of containers) {
      const { collections } = account.database(definition.id);
      collections.create(container.definition);
      stores.of(account.database(definition.id).collection(container.definition.id)).fill(container.store);
    }
  }
}

module.exports = { save, load };
