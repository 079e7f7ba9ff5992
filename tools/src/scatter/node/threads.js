// Node's worker_threads: one server that gives the days of a request to its threads and puts their results in order.
//
//     node threads.js http://DATA-SIDE READY-FILE THREADS
"use strict";
const fs = require("fs");
const http = require("http");
const { Worker, isMainThread, parentPort, workerData } = require("worker_threads");
const { records } = require("./clouds.js");
const { answer, paramsOf } = require("./serving.js");

/** Days of a request that are under way or done ahead of the one that is sent, for each thread. */
const AHEAD = 2;
const DAY_MS = 86400000;

async function work({ id, params }) {
  try {
    const parts = [];
    for await (const lines of records(workerData.source, params)) parts.push(lines);
    // Bytes are handed over without a copy.
    const bytes = Buffer.from(parts.join(""));
    const whole = bytes.buffer.byteLength === bytes.length ? bytes : new Uint8Array(bytes);
    parentPort.postMessage({ id, bytes: whole }, [whole.buffer]);
  } catch (error) {
    parentPort.postMessage({ id, error: error.message });
  }
}

function main([source, ready, count]) {
  const waiting = [];
  const asked = new Map();
  let tasks = 0;
  const idle = Array.from({ length: Number(count) }, () => {
    const thread = new Worker(__filename, { workerData: { source } });
    thread.on("message", ({ id, bytes, error }) => {
      const { resolve, reject } = asked.get(id);
      asked.delete(id);
      idle.push(thread);
      dispatch();
      if (error === undefined) resolve(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
      else reject(new Error(error));
    });
    return thread;
  });
  function dispatch() {
    while (idle.length > 0 && waiting.length > 0) idle.pop().postMessage(waiting.shift());
  }
  function day(params) {
    const id = (tasks += 1);
    const result = new Promise((resolve, reject) => asked.set(id, { resolve, reject }));
    result.catch(() => {}); // It is told to who awaits it, if anybody still does.
    waiting.push({ id, params });
    dispatch();
    return result;
  }
  async function* days(params) {
    const end = Date.parse(params.to);
    const ahead = [];
    for (let at = Date.parse(params.from); at <= end || ahead.length > 0; ) {
      for (; at <= end && ahead.length < AHEAD * Number(count); at += DAY_MS) {
        const name = new Date(at).toISOString().slice(0, 10);
        ahead.push(day({ ...params, from: name, to: name }));
      }
      yield await ahead.shift();
    }
  }
  const server = http.createServer((request, response) => answer(request, response, days(paramsOf(request.url))));
  server.listen(0, "127.0.0.1", () => {
    fs.writeFileSync(ready + ".new", JSON.stringify({ listen: [`127.0.0.1:${server.address().port}`] }));
    fs.renameSync(ready + ".new", ready);
  });
  process.on("SIGTERM", () => process.exit(0));
}

if (isMainThread) main(process.argv.slice(2));
else parentPort.on("message", work);
