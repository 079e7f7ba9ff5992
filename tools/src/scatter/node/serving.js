// What both Node servers share: what a request asks for, and how its answer is sent.
"use strict";
const { Readable, pipeline } = require("stream");
const zlib = require("zlib");

function paramsOf(target) {
  const query = new URL(target, "http://localhost").searchParams;
  const number = (name, fallback) => (query.has(name) ? Number(query.get(name)) : fallback);
  return {
    from: query.get("from"),
    to: query.get("to"),
    channel: number("channel", 0),
    threshold: number("threshold", 1800),
    limit: number("limit", 1968),
  };
}

/** Streams what an iterator of texts gives; what goes wrong afterwards breaks the answer off. */
function answer(request, response, pieces) {
  response.setHeader("Content-Type", "application/x-ndjson");
  const gzip = /\bgzip\b/.test(request.headers["accept-encoding"] || "");
  // Text, not objects: a stream's buffer is then counted in bytes.
  const chain = [Readable.from(pieces, { objectMode: false })];
  if (gzip) {
    response.setHeader("Content-Encoding", "gzip");
    chain.push(zlib.createGzip());
  }
  pipeline(...chain, response, (error) => {
    if (error) response.destroy();
  });
}

module.exports = { answer, paramsOf };
