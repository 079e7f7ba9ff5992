#!/usr/bin/env python3
"""A real browser, headless, reads what a node has merged and back-ends have compressed.

    scatter.py CHROMIUM DIRECTORY

Prints the page's origin, as browser.py does; then reads a node's address, "http://SUBSCRIBE", from
a line of the input. The node has the use cases /ordered and /unordered, which are the numbers below
100,000, a record each, and /broken, which fails after 20,000 records.
"""

import gzip
import http.client
import json
import pathlib
import sys
import threading
import urllib.request
from http.server import ThreadingHTTPServer

import browser

PAGE = pathlib.Path(__file__).with_name("scatter.html").read_bytes()
EXPECTED = [f'{{"n": {n}}}' for n in range(100_000)]

targets = {}


class Handler(browser.Handler):
    def do_GET(self):
        if self.path == "/":
            self.answer(200, PAGE, "text/html; charset=utf-8")
        elif self.path == "/settings.json":
            self.answer(200, json.dumps({"targets": targets}).encode(), "application/json")
        else:
            self.answer(404)


def lines(seen):
    assert (seen["status"], seen["type"], seen["error"]) == (200, "application/x-ndjson", None), seen
    assert seen["text"].endswith("\n")
    return seen["text"].splitlines()


def judge(result):
    assert "error" not in result, result["error"]
    assert lines(result["ordered"]) == EXPECTED, result["ordered"]["text"][:200]
    assert sorted(lines(result["unordered"])) == sorted(EXPECTED), result["unordered"]["text"][:200]
    broken = result["broken"]
    assert broken["status"] == 200 and broken["error"] == "TypeError", broken["error"]
    came = broken["text"].splitlines()[:-1]
    assert came and came == EXPECTED[:len(came)], broken["text"][:200]


def check_gzip(url):
    """That it is compressed at all for whoever says what a browser says."""
    request = urllib.request.Request(url, headers={"Accept-Encoding": "gzip, deflate, br"})
    with urllib.request.urlopen(request, timeout=browser.PATIENCE_S) as response:
        assert response.headers["Content-Encoding"] == "gzip", response.headers
        try:
            packed = response.read()
        except http.client.IncompleteRead:
            return
        assert len(gzip.decompress(packed).splitlines()) == len(EXPECTED)


def main():
    chromium, directory = sys.argv[1:]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    origin = f"http://127.0.0.1:{server.server_port}"
    print(origin, flush=True)
    node = sys.stdin.readline().strip()
    targets.update({name: f"{node}/{name}" for name in ("ordered", "unordered", "broken")})
    for url in targets.values():
        check_gzip(url)
    browser.browse(chromium, directory, origin + "/", judge)
    print("ok")


main()
