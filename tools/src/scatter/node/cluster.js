// Node's cluster: so many instances share a socket; each request is served by one of them.
//
//     node cluster.js http://DATA-SIDE READY-FILE INSTANCES
"use strict";
const cluster = require("cluster");
const fs = require("fs");
const http = require("http");
const { records } = require("./clouds.js");
const { answer, paramsOf } = require("./serving.js");

const [source, ready, instances] = process.argv.slice(2);

if (cluster.isPrimary) {
  let listening = 0;
  cluster.on("listening", (_, address) => {
    listening += 1;
    if (listening < Number(instances)) return;
    fs.writeFileSync(ready + ".new", JSON.stringify({ listen: [`127.0.0.1:${address.port}`] }));
    fs.renameSync(ready + ".new", ready);
  });
  cluster.on("exit", () => process.exit(1));
  process.on("SIGTERM", () => process.exit(0));
  for (let count = 0; count < Number(instances); count += 1) cluster.fork();
} else {
  const server = http.createServer((request, response) => {
    const stop = new AbortController();
    response.on("close", () => stop.abort());
    answer(request, response, records(source, paramsOf(request.url), stop.signal));
  });
  server.listen(0, "127.0.0.1");
}
