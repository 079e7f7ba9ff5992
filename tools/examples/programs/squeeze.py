#!/usr/bin/env python3
"""A handler for `pushup map`: each line with its runs of blanks made one."""
import json
import os
import sys

with os.fdopen(3, "w") as records:
    for line in sys.stdin:
        run = json.loads(line)["run"]
        for text in run["params"]["lines"]:
            records.write(" ".join(text.split()) + "\n")
        records.write("\x1e" + json.dumps({"end": {"id": run["id"]}}) + "\n")
        records.flush()
