// For tests: documents on standard input, a line each, give records on standard output.
//
//     node profile.js CHANNEL THRESHOLD
"use strict";
const fs = require("fs");
const { record } = require("./clouds.js");

const [channel, threshold] = process.argv.slice(2).map(Number);
const lines = fs.readFileSync(0, "utf8").split("\n").filter((line) => line !== "");
process.stdout.write(lines.map((line) => record(JSON.parse(line), channel, threshold)).join(""));
