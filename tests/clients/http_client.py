#!/usr/bin/env python3
"""Python's own clients against a node.

    http_client.py http://SUBSCRIBE http://PUBLISH

http.client: publish, poll, poll again with the cursor on the same connection; a hundred
messages that are published while a subscriber polls, none of them lost or told twice.
urllib: the same by its simplest calls.
"""

import http.client
import json
import sys
import threading
import urllib.error
import urllib.request
from urllib.parse import quote, urlsplit

TIMEOUT_S = 20
MESSAGES = 100


def connect(url):
    parts = urlsplit(url)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_S)


def poll(connection, channels, **query):
    text = "&".join(f"{name}={quote(str(value))}" for name, value in query.items())
    connection.request("GET", f"/sub/{channels}?{text}")
    response = connection.getresponse()
    assert response.status == 200, (response.status, response.read())
    assert response.getheader("Cache-Control") == "no-store"
    return json.load(response)


def publish(connection, channels, body, content_type="text/plain"):
    connection.request("POST", f"/pub/{channels}", body, {"Content-Type": content_type})
    response = connection.getresponse()
    answer = json.load(response)
    assert response.status == 201, (response.status, answer)
    return answer


def check_one_after_the_other(subscribe, publisher):
    subscriber, publishing = connect(subscribe), connect(publisher)
    nothing = poll(subscriber, "py", timeout=0)
    assert nothing["messages"] == []
    receipt = publish(publishing, "py", json.dumps({"n": 1}), "application/json")
    socket = subscriber.sock
    answer = poll(subscriber, "py", timeout=5, after=nothing["cursor"])
    assert [message["data"] for message in answer["messages"]] == [{"n": 1}]
    assert answer["messages"][0]["id"] == receipt["id"]
    again = poll(subscriber, "py", timeout=0, after=answer["cursor"])
    assert again["messages"] == []
    assert subscriber.sock is socket, "the connection was not kept"


def check_chunked(publisher):
    """A body of unknown length goes out in chunks."""
    connection = connect(publisher)
    pieces = (piece for piece in [b"in ", b"three ", b"pieces"])
    connection.request("POST", "/pub/chunked", pieces, encode_chunked=True,
                       headers={"Transfer-Encoding": "chunked", "Content-Type": "text/plain"})
    response = connection.getresponse()
    assert response.status == 201, response.read()


def check_none_lost(subscribe, publisher):
    def publish_all():
        connection = connect(publisher)
        for number in range(MESSAGES):
            publish(connection, "stream", str(number))

    subscriber = connect(subscribe)
    cursor = poll(subscriber, "stream", timeout=0, after="now")["cursor"]
    publishing = threading.Thread(target=publish_all)
    publishing.start()
    seen, polls = [], 0
    while len(seen) < MESSAGES:
        answer = poll(subscriber, "stream", timeout=10, after=cursor)
        assert answer["messages"], f"a poll ended empty after {len(seen)} messages"
        assert "gap" not in answer and "reset" not in answer, answer
        seen += [int(message["data"]) for message in answer["messages"]]
        cursor, polls = answer["cursor"], polls + 1
    publishing.join()
    assert seen == list(range(MESSAGES)), seen
    assert poll(subscriber, "stream", timeout=0, after=cursor)["messages"] == []
    print(f"{MESSAGES} messages in {polls} polls")


def check_urllib(subscribe, publisher):
    request = urllib.request.Request(f"{publisher}/pub/urllib", data=b"hello")
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        assert response.status == 201
    with urllib.request.urlopen(f"{subscribe}/sub/urllib,chunked", timeout=TIMEOUT_S) as response:
        data = [message["data"] for message in json.load(response)["messages"]]
    assert data == ["in three pieces", "hello"], data
    try:
        urllib.request.urlopen(f"{subscribe}/sub/not%20valid", timeout=TIMEOUT_S)
        raise AssertionError("a bad name was taken")
    except urllib.error.HTTPError as error:
        assert error.code == 400 and json.load(error)["status"] == 400


def main():
    subscribe, publisher = sys.argv[1:]
    check_one_after_the_other(subscribe, publisher)
    check_chunked(publisher)
    check_none_lost(subscribe, publisher)
    check_urllib(subscribe, publisher)
    print("ok")


main()
