// Node's fetch against a node: keep-alive, long polls in parallel, and leaving while held.
//
//     node node_fetch.mjs http://SUBSCRIBE http://PUBLISH
import assert from "node:assert/strict";

const [subscribe, publisher] = process.argv.slice(2);
const PATIENCE_MS = 20_000;

const overdue = setTimeout(() => {
    console.error("out of patience");
    process.exit(1);
}, 4 * PATIENCE_MS);

async function poll(channels, query, signal = AbortSignal.timeout(PATIENCE_MS)) {
    const response = await fetch(`${subscribe}/sub/${channels}?${new URLSearchParams(query)}`, { signal });
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("cache-control"), "no-store");
    return response.json();
}

async function publish(channels, value) {
    const response = await fetch(`${publisher}/pub/${channels}`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(value),
        signal: AbortSignal.timeout(PATIENCE_MS),
    });
    assert.equal(response.status, 201);
    return response.json();
}

async function waitFor(figure, wanted) {
    for (const deadline = Date.now() + PATIENCE_MS; Date.now() < deadline; ) {
        const stats = await (await fetch(`${publisher}/stats`)).json();
        if (stats[figure] === wanted) return;
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert.fail(`${figure} did not become ${wanted}`);
}

const data = (answer) => answer.messages.map((message) => message.data);

// Held, then answered; then on with the cursor.
let held = poll("js", { after: "now", timeout: 15 });
await waitFor("held_polls", 1);
await publish("js", { first: true });
let answer = await held;
assert.deepEqual(data(answer), [{ first: true }]);
await publish("js", "second");
answer = await poll("js", { after: answer.cursor });
assert.deepEqual(data(answer), ["second"]);

// Leaving while held: the promise fails, and the server holds nothing any more.
const leaving = new AbortController();
held = poll("js", { after: answer.cursor, timeout: 60 }, leaving.signal);
await waitFor("held_polls", 1);
leaving.abort();
await assert.rejects(held, { name: "AbortError" });
await waitFor("held_polls", 0);
assert.equal((await publish("js", "unheard")).subscribers, 0);
// Whoever left has missed nothing.
assert.deepEqual(data(await poll("js", { after: answer.cursor })), ["unheard"]);

// Fifty at once, each on its own channel.
const numbers = [...Array(50).keys()];
const all = numbers.map((number) => poll(`js${number},everyone`, { timeout: 15 }));
await waitFor("held_polls", numbers.length);
assert.equal((await publish("everyone", "hello")).subscribers, numbers.length);
for (const one of await Promise.all(all)) assert.deepEqual(data(one), ["hello"]);

clearTimeout(overdue);
console.log("ok");
