"use strict";
// usage: node main.js [--host 127.0.0.1] [--port 0] [--scheme https|http] [--state FILE]
// Prints one line of JSON when it listens, {"ready": PORT, "scheme": ..., "host": ...}; port 0 takes a free one.
// SIGTERM and SIGINT end it. What it holds ends with it, unless a state file is given: that is written at the end, and
// read at the next start.

const { parseArgs } = require("node:util");
const { createServer } = require("./server");
const state = require("./state");

const { values } = parseArgs({
  options: {
    host: { type: "string", default: "127.0.0.1" },
    port: { type: "string", default: "0" },
    scheme: { type: "string", default: "https" },
    state: { type: "string" },
  },
});
if (!["http", "https"].includes(values.scheme)) throw new Error(`--scheme is http or https, not ${values.scheme}`);

const { server, account, stores } = createServer({ secure: values.scheme === "https", host: values.host });
if (values.state) state.load(account, stores, values.state);
server.listen(Number(values.port), values.host, () => {
  console.log(JSON.stringify({ ready: server.address().port, scheme: values.scheme, host: values.host }));
});

for (const signal of ["SIGTERM", "SIGINT"]) {
  process.once(signal, () => {
    server.close(() => process.exit(0));
    server.closeAllConnections();
    if (values.state) state.save(account, stores, values.state);
  });
}
