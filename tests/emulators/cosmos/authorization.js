"use strict";
// Correction: the package lets everybody in. The service refuses a request that is not signed with the account's key:
// https://learn.microsoft.com/rest/api/cosmos-db/access-control-on-cosmosdb-resources
// The key is the one that the vendor publishes for its own emulator; it is no secret.

const { createHmac, timingSafeEqual } = require("node:crypto");
const { unauthorized } = require("./failures");

const KEY = Buffer.from("C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw==", "base64");

/** The type of the addressed resources and the name-based link that is signed: a collection is signed by its owner. */
function addressed(url) {
  const parts = url.split("?")[0].split("/").filter(Boolean).map(decodeURIComponent);
  const isCollection = parts.length % 2 === 1;
  return isCollection
    ? { type: parts.at(-1), link: parts.slice(0, -1).join("/") }
    : { type: parts.at(-2) ?? "", link: parts.join("/") };
}

function checkSignature(request) {
  const { type, link } = addressed(request.url);
  const date = String(request.headers["x-ms-date"] ?? "").toLowerCase();
  const text = `${request.method.toLowerCase()}\n${type.toLowerCase()}\n${link}\n${date}\n\n`;
  const expected = createHmac("sha256", KEY).update(text, "utf8").digest();
  const token = new URLSearchParams(decodeURIComponent(request.headers.authorization ?? "").replace(/\+/g, "%2B"));
  const given = Buffer.from(token.get("sig") ?? "", "base64");
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
    throw unauthorized("The input authorization token can't serve the request: it is not signed with the account's key.");
  }
}

module.exports = { checkSignature };
