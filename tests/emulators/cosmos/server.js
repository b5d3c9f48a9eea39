"use strict";
// The HTTP side.
//
// Correction: the package closes the connection after each reply, which makes every request pay for a handshake.

const fs = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const { randomUUID } = require("node:crypto");

const { Account, certificate } = require("./upstream");
const { Stores } = require("./document-store");
const { ServiceError } = require("./failures");
const { checkSignature } = require("./authorization");
const { routes } = require("./routes");

const KEEP_ALIVE_MS = 120_000;
const BODILESS = new Set([204, 304]);

async function answer(account, route, request, response) {
  const match = route(request);
  if (match === undefined) {
    response.statusCode = 400;
    return { code: "BadRequest", message: `This stand-in has no ${request.method} ${request.url}` };
  }
  const [params, handle] = match;
  try {
    checkSignature(request);
    return await handle(account, request, response, params);
  } catch (error) {
    const known = error instanceof ServiceError;
    if (!known) console.error(error);
    response.statusCode = known ? error.statusCode : 500;
    return known ? error.body : { code: "InternalServerError", message: error.message };
  }
}

/** Correction: the feed of partition ranges is read as a change feed; "nothing new since your etag" ends the reading. */
function endFeed(request, response) {
  if (!request.headers["a-im"] || response.statusCode !== 200) return;
  if (request.headers["if-none-match"]) response.statusCode = 304;
  response.setHeader("etag", '"1"');
}

function send(request, response, body) {
  endFeed(request, response);
  if (body?._etag && !response.hasHeader("etag")) response.setHeader("etag", body._etag);
  response.setHeader("content-type", "application/json");
  response.setHeader("x-ms-activity-id", randomUUID());
  response.setHeader("x-ms-request-charge", "1");
  if (BODILESS.has(response.statusCode) || body === undefined) return response.end();
  if (response.statusCode >= 400 && body.message === undefined) body.message = "";
  return response.end(JSON.stringify(body));
}

/** A server that does not listen yet, with what it holds; `secure` is whether it speaks TLS (with the package's self-signed certificate). */
function createServer({ secure, host }) {
  const account = new Account(host, 0);
  const stores = new Stores();
  const route = routes(stores);
  const listener = (request, response) =>
    answer(account, route, request, response).then(body => send(request, response, body));
  const options = { keepAlive: true, noDelay: true };
  const server = secure
    ? https.createServer(
        { ...options, cert: fs.readFileSync(certificate.cert), key: fs.readFileSync(certificate.key) },
        listener
      )
    : http.createServer(options, listener);
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.headersTimeout = KEEP_ALIVE_MS + 5_000;
  return { server, account, stores };
}

module.exports = { createServer };
