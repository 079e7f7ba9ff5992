// A handler of PushUp: a sub-task is a line of JSON on standard input, its records go to descriptor 3.
//
//     node handler.js http://DATA-SIDE
"use strict";
const fs = require("fs");
const readline = require("readline");
const { records } = require("./clouds.js");

const source = process.argv[2];
/** Characters that are written together. */
const ENOUGH = 32 * 1024;

let current = null;
let last = Promise.resolve();

// Descriptor 3 is a pipe: who reads slowly makes this wait, which is what it is for.
function write(text) {
  for (let rest = Buffer.from(text); rest.length > 0; ) rest = rest.subarray(fs.writeSync(3, rest));
}

const control = (message) => write("\x1e" + JSON.stringify(message) + "\n");

async function serve(run) {
  const stop = new AbortController();
  current = { id: run.id, stop };
  let count = 0;
  let unwritten = "";
  try {
    for await (const lines of records(source, run.params, stop.signal)) {
      unwritten += lines;
      // Each write wakes the back-end: some records at a time.
      if (unwritten.length >= ENOUGH) {
        write(unwritten);
        unwritten = "";
      }
      for (let at = lines.indexOf("\n"); at >= 0; at = lines.indexOf("\n", at + 1)) count += 1;
    }
    write(unwritten);
    control({ end: { id: run.id, records: count } });
  } catch (error) {
    control({ error: { id: run.id, message: error.message } });
  }
  current = null;
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const { run, cancel } = JSON.parse(line);
  if (run !== undefined) last = last.then(() => serve(run));
  if (cancel !== undefined && current !== null && current.id === cancel.id) current.stop.abort();
}).on("close", () => process.exit(0));
