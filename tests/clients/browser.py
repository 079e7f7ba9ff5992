#!/usr/bin/env python3
"""A real browser, headless, against a node of another origin.

    browser.py CHROMIUM KEY-FILE DIRECTORY

Serves browser.html on a free port and prints that origin on a line, so that a node can be
started which allows it; then reads the node's two addresses, "http://SUBSCRIBE
http://PUBLISH", from a line of the input. The page polls the node and posts what it saw
back here, where it is judged. KEY-FILE holds the key that the node checks tokens with;
DIRECTORY is where the browser may keep its profile.
"""

import base64
import hashlib
import hmac
import json
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATIENCE_S = 60
MESSAGES = 3
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--no-proxy-server",
]
PAGE = pathlib.Path(__file__).with_name("browser.html").read_bytes()

results = queue.Queue()
settings = {}


def token(key):
    """A token for the channel "web", signed with HS256 (RFC 7515)."""
    def part(value):
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    signed = part({"alg": "HS256", "typ": "JWT"}) + "." + part({"sub": ["web"]})
    return signed + "." + part(hmac.new(key, signed.encode(), hashlib.sha256).digest())


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/":
            self.answer(200, PAGE, "text/html; charset=utf-8")
        elif self.path == "/settings.json":
            shown = {name: settings[name] for name in ("subscribe", "token", "count")}
            self.answer(200, json.dumps(shown).encode(), "application/json")
        else:
            self.answer(404)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/publish":
            url = settings["publish"] + "/pub/web"
            request = urllib.request.Request(url, data=body, headers={"Content-Type": "text/plain"})
            urllib.request.urlopen(request, timeout=PATIENCE_S).close()
        elif self.path == "/result":
            results.put(json.loads(body))
        self.answer(200)

    def answer(self, status, body=b"", kind="text/plain"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def judge(result):
    expected = [str(number) for number in range(MESSAGES)] + ["with a field"]
    assert result.get("seen") == expected, result
    assert result["end"] == "AbortError", result
    assert result["stranger"] == 404, result


def browse(chromium, directory, url, judge=judge):
    with tempfile.TemporaryDirectory(dir=directory, ignore_cleanup_errors=True) as profile:
        log = pathlib.Path(directory, "browser.log")
        with log.open("wb") as output:
            command = [chromium, *FLAGS, f"--user-data-dir={profile}", url]
            browser = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            judge(results.get(timeout=PATIENCE_S))
        except queue.Empty:
            sys.exit("the page did not report; the browser said:\n" + log.read_text(errors="replace"))
        finally:
            browser.kill()
            browser.wait()


def main():
    chromium, key_file, directory = sys.argv[1:]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    origin = f"http://127.0.0.1:{server.server_port}"
    print(origin, flush=True)
    subscribe, publish = sys.stdin.readline().split()
    key = pathlib.Path(key_file).read_bytes().strip()
    settings.update(subscribe=subscribe, publish=publish, token=token(key), count=MESSAGES)
    browse(chromium, directory, origin + "/")
    print("ok")


if __name__ == "__main__":
    main()
