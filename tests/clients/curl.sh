#!/usr/bin/env bash
# curl against a node, as people type it.
#
#     curl.sh http://SUBSCRIBE http://PUBLISH
set -euo pipefail

subscribe=$1
publish=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "FAILED: $1" >&2
    [ $# -lt 2 ] || printf '%s\n' "$2" >&2
    exit 1
}

# expect WHAT PATTERN TEXT: the text must match the extended regular expression.
expect() {
    grep -Eq -- "$2" <<<"$3" || fail "$1: no match for $2" "$3"
}

ask() {
    curl -sS --noproxy '*' --max-time 20 "$@"
}

# What a newcomer pastes: a poll that waits, a publication, the figures.
ask "$subscribe/sub/news" >"$work/held" &
poll=$!
for _ in $(seq 400); do
    stats=$(ask "$publish/stats")
    ! grep -q '"held_polls":1,' <<<"$stats" || break
    sleep 0.02
done
expect "the poll is held" '"held_polls":1,' "$stats"
receipt=$(ask -d 'hello, world' "$publish/pub/news")
expect "the receipt" '^\{"id":"[0-9a-f]{16}-[0-9]+","time":[0-9]+,"subscribers":1\}$' "$receipt"
wait "$poll" || fail "the poll ended with $?"
expect "the held poll" '"data":"hello, world"' "$(cat "$work/held")"

# The cursor goes on where the last answer ended.
cursor=$(sed 's/^{"cursor":"\([^"]*\)".*/\1/' "$work/held")
expect "nothing new" '"messages":\[\]' "$(ask "$subscribe/sub/news?timeout=0&after=$cursor")"
ask --json '{"n": [1, 2]}' "$publish/pub/news" >/dev/null
expect "JSON as it is" '"type":"application/json","data":\{"n": \[1, 2\]\}' \
    "$(ask "$subscribe/sub/news?after=$cursor")"

# HTTP/1.0, HEAD, and the verbs of channels.
expect "HTTP/1.0" '"data":"hello, world"' "$(ask --http1.0 "$subscribe/sub/news?timeout=0")"
head=$(ask -I "$subscribe/sub/news")
expect "HEAD's status" '^HTTP/1\.1 200 OK' "$head"
expect "HEAD's length" '^Content-Length: [1-9]' "$head"
created=$(ask -i --json '{"name":"room","ttl":60}' "$publish/channels")
expect "a channel is made" '^HTTP/1\.1 201 Created' "$created"
expect "a channel is listed" '"channel":"room"' "$(ask "$publish/channels")"
expect "a channel is renewed" '"expires":[0-9]+' "$(ask -X POST "$publish/channels/room/renew")"
[ "$(ask -o /dev/null -w '%{http_code}' -X DELETE "$publish/channels/room")" = 204 ] || fail "DELETE"
[ "$(ask -o /dev/null -w '%{http_code}' "$subscribe/sub/room")" = 410 ] || fail "a closed channel"

# Bodies: with leave to send them, in chunks from a pipe, as a batch, too large.
head -c 3000 /dev/zero | tr '\0' 'x' >"$work/body"
verbose=$(ask -v -H 'Expect: 100-continue' -H 'Content-Type: text/plain' --data-binary "@$work/body" \
    "$publish/pub/big" 2>&1)
expect "leave is given" '^< HTTP/1\.1 100 Continue' "$verbose"
expect "the body is taken" '^< HTTP/1\.1 201 Created' "$verbose"
expect "the body is whole" "\"data\":\"x{3000}\"" "$(ask "$subscribe/sub/big")"
expect "a chunked body" '"subscribers":0' \
    "$(printf 'from a pipe' | ask -H 'Content-Type: text/plain' -T - -X POST "$publish/pub/pipe")"
expect "a batch" '^\{"id":.*' "$(printf '%s\n%s\n' '{"channel":"a","data":1}' '{"channel":"b","data":2}' |
    ask -H 'Content-Type: application/x-ndjson' --data-binary @- "$publish/pub")"
head -c 2000000 /dev/zero >"$work/huge"
status=$(ask -o "$work/answer" -w '%{http_code}' --data-binary "@$work/huge" "$publish/pub/big") || true
[ "$status" = 413 ] || fail "a body that is too large: $status"
expect "the reason" '"status":413' "$(cat "$work/answer")"

# Several requests on one connection, and two at a time.
reused=$(ask -w '%{num_connects}\n' -o /dev/null "$subscribe/livez" -o /dev/null "$subscribe/readyz" \
    -o /dev/null "$subscribe/sub/news?timeout=0")
[ "$(tr '\n' ' ' <<<"$reused")" = "1 0 0 " ] || fail "the connection is kept" "$reused"
parallel=$(ask --parallel "$subscribe/sub/news?timeout=0" "$subscribe/sub/big?timeout=0")
expect "the first of two" 'hello, world' "$parallel"
expect "the second of two" 'x{3000}' "$parallel"
expect "gzip is not forced on us" 'hello, world' "$(ask --compressed "$subscribe/sub/news?timeout=0")"

# Mistakes are told in a line that a person understands.
expect "a bad name" '"detail":"A channel name is' "$(ask "$subscribe/sub/not%20valid")"
expect "a wrong method" '^Allow: GET, HEAD, OPTIONS' "$(ask -i -X PUT "$subscribe/sub/news")"
expect "a wrong door" '"status":404' "$(ask -d x "$subscribe/pub/news")"
echo ok
