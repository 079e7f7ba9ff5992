#!/usr/bin/env python3
"""A handler: the primes of a range, a record each.

A sub-task is a line of JSON on standard input. Records go to descriptor 3, a line each; a line
that begins with the byte 1E says how the sub-task has ended. What is printed becomes log lines.
"""
import json
import os
import sys


def primes(begin, end):
    for number in range(max(begin, 2), end):
        if all(number % divisor for divisor in range(2, int(number**0.5) + 1)):
            yield number


def main():
    with os.fdopen(3, "w") as records:
        records.write('\x1e{"ready":{}}\n')
        records.flush()
        for line in sys.stdin:
            run = json.loads(line).get("run")
            if run is None:
                continue  # It was cancelled, and is over already.
            params, count = run["params"], 0
            for prime in primes(params["from"], params["to"]):
                records.write(json.dumps({"prime": prime}) + "\n")
                count += 1
            end = {"end": {"id": run["id"], "records": count}}
            records.write("\x1e" + json.dumps(end) + "\n")
            records.flush()


main()
