"use strict";
// The documents of one container, by partition key and then by id.
//
// Corrections: the package keeps one map for the whole container, so a partition query filters everything, and it loses
// all documents when the container's properties are replaced (a store here is found by the container's resource id, which
// stays). A failed batch is undone from a log of the touched documents, so its cost does not grow with the container.
// Documents are never changed in place: a write puts a new object, an undo puts the old one back.

const { randomUUID } = require("node:crypto");
const { keyOfDocument, valueAt } = require("./partition-key");
const { isExpired, checkTtl } = require("./time-to-live");
const { checkItemSize } = require("./limits");
const { conflict } = require("./failures");

const NOTHING = new Map();

class DocumentStore {
  constructor(containerRid) {
    this.containerRid = Buffer.from(containerRid.replace(/-/g, "/"), "base64");
    this.partitions = new Map();
    this.created = 0n;
    this.writes = 0; // the log sequence number that session tokens name
    this.undo = null;
  }

  /** The document, or undefined when it is missing or its time is over. */
  get(key, id, definition) {
    const document = this.partitions.get(key)?.get(id);
    if (document === undefined || !isExpired(document, definition, Date.now())) return document;
    this.#assign(key, id, undefined);
    return undefined;
  }

  /** All living documents, of one partition or (key undefined) of the container. */
  scan(key, definition) {
    const partitions = key === undefined ? [...this.partitions.keys()] : [key];
    const nowMs = Date.now();
    const living = [];
    for (const partition of partitions) {
      for (const [id, document] of this.partitions.get(partition) ?? NOTHING) {
        if (isExpired(document, definition, nowMs)) this.#assign(partition, id, undefined);
        else living.push(document);
      }
    }
    return living;
  }

  /** Stores the document with fresh system properties, and returns what is stored. `previous` is what it replaces. */
  put(content, previous, collection) {
    const definition = collection.read();
    const key = keyOfDocument(content, definition);
    checkTtl(content);
    this.#checkUniqueKeys(key, content, definition);
    const rid = previous?._rid ?? this.#nextRid();
    const document = {
      ...content,
      _rid: rid,
      _self: `${definition._self}/docs/${rid}/`,
      _etag: `"${randomUUID()}"`,
      _attachments: "attachments/",
      _ts: Math.floor(Date.now() / 1000),
    };
    checkItemSize(document);
    this.#assign(key, document.id, document);
    this.writes += 1;
    return document;
  }

  remove(document, collection) {
    this.#assign(keyOfDocument(document, collection.read()), document.id, undefined);
    this.writes += 1;
  }

  /** Runs `work`; when it returns false or throws, every document that it touched is as it was before. */
  atomically(work) {
    this.undo = [];
    let kept = false;
    try {
      kept = work();
    } finally {
      const log = this.undo;
      this.undo = null;
      if (!kept) for (const [key, id, before] of log.reverse()) this.#assign(key, id, before);
    }
    return kept;
  }

  /** What the store holds, for a file. */
  toJSON() {
    const partitions = [...this.partitions].map(([key, documents]) => [key, [...documents.values()]]);
    return { created: String(this.created), writes: this.writes, partitions };
  }

  /** Takes over what `toJSON` gave. */
  fill({ created, writes, partitions }) {
    this.created = BigInt(created);
    this.writes = writes;
    for (const [key, documents] of partitions) {
      this.partitions.set(key, new Map(documents.map(document => [document.id, document])));
    }
  }

  #assign(key, id, document) {
    let partition = this.partitions.get(key);
    this.undo?.push([key, id, partition?.get(id)]);
    if (document !== undefined) {
      if (partition === undefined) this.partitions.set(key, (partition = new Map()));
      partition.set(id, document);
    } else if (partition !== undefined) {
      partition.delete(id);
      if (partition.size === 0) this.partitions.delete(key);
    }
  }

  #nextRid() {
    this.created += 1n;
    const number = Buffer.alloc(8);
    number.writeBigUInt64LE(this.created);
    return Buffer.concat([this.containerRid, number]).toString("base64").replace(/\//g, "-");
  }

  #checkUniqueKeys(key, content, definition) {
    for (const { paths } of definition.uniqueKeyPolicy?.uniqueKeys ?? []) {
      const values = document => JSON.stringify(paths.map(path => valueAt(document, path) ?? null));
      const taken = this.scan(key, definition).some(
        other => other.id !== content.id && values(other) === values(content)
      );
      if (taken) throw conflict("Unique index constraint violation.");
    }
  }
}

/** The stores of all containers; a container that is gone takes its documents with it. */
class Stores {
  #byRid = new Map();

  of(collection) {
    const { _rid } = collection.read();
    let store = this.#byRid.get(_rid);
    if (store === undefined) this.#byRid.set(_rid, (store = new DocumentStore(_rid)));
    return store;
  }

  drop(collection) {
    this.#byRid.delete(collection.read()._rid);
  }
}

module.exports = { Stores };
