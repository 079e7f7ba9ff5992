#!/usr/bin/env node
// A handler: counts the words of a text, a record for each, in alphabetical order.
//
// A sub-task is a line of JSON on standard input. Records go to descriptor 3, a line each; a line
// that begins with the byte 1E says how the sub-task has ended. What is printed becomes log lines.
"use strict";
const fs = require("fs");
const readline = require("readline");

// Descriptor 3 is a pipe: who reads slowly makes this wait, which is what it is for.
function write(text) {
  for (let rest = Buffer.from(text); rest.length > 0; ) {
    rest = rest.subarray(fs.writeSync(3, rest));
  }
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const run = JSON.parse(line).run;
  if (run === undefined) return; // It was cancelled, and is over already.
  const counts = new Map();
  for (const word of run.params.text.toLowerCase().match(/[a-z]+/g) || []) {
    counts.set(word, (counts.get(word) || 0) + 1);
  }
  const records = [...counts].sort().map(([word, count]) => JSON.stringify({ word, count }) + "\n");
  write(records.join("") + "\x1e" + JSON.stringify({ end: { id: run.id, records: records.length } }) + "\n");
});
