"use strict";
// usage: node main.js [--host 127.0.0.1] [--port 0] [--scheme https|http]
// Prints one line of JSON when it listens, {"ready": PORT, "scheme": ..., "host": ...}; port 0 takes a free one.
// SIGTERM and SIGINT end it. Nothing is stored: what it holds ends with it.

const { parseArgs } = require("node:util");
const { createServer } = require("./server");

const { values } = parseArgs({
  options: {
    host: { type: "string", default: "127.0.0.1" },
    port: { type: "string", default: "0" },
    scheme: { type: "string", default: "https" },
  },
});
if (!["http", "https"].includes(values.scheme)) throw new Error(`--scheme is http or https, not ${values.scheme}`);

const server = createServer({ secure: values.scheme === "https", host: values.host });
server.listen(Number(values.port), values.host, () => {
  console.log(JSON.stringify({ ready: server.address().port, scheme: values.scheme, host: values.host }));
});

for (const signal of ["SIGTERM", "SIGINT"]) {
  process.once(signal, () => {
    server.close(() => process.exit(0));
    server.closeAllConnections();
  });
}
