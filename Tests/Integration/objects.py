"""A node with durable objects of ObjectWorker: what the tests of objects share."""

import glob
import json
import os
import time

from projects import Project

SHAPE = """\
format = 1
tenant = "t"
compatibility_date = "2026-08-01"

[workers.objects]
product = "ObjectWorker"
routes = ["objects.localhost/*"]
durable_objects = [
    { binding = "PROBES", class = "Probe" }, { binding = "ACCOUNTS", class = "Account" }, { binding = "PLAIN", class = "Plain" },
]
migrations = [{ tag = "v1", new_sqlite_classes = ["Probe", "Account"], new_classes = ["Plain"] }]
"""

DEV = """\
format = 1
[durable_objects]
hibernate_after = "%s"
evict_after = "%s"
on_deploy = "%s"
"""

HOST = {"Host": "objects.localhost"}


class Failed(Exception):
    """What a caller saw of a call that failed."""

    def __init__(self, answer):
        super().__init__(answer.text)
        self.status = answer.status
        try:
            self.failure = json.loads(answer.text)
        except ValueError:
            self.failure = {}
        self.message = self.failure.get("message", answer.text)


class Objects:
    """A project with a node. A context manager."""

    def __init__(self, hibernate="10s", evict="70s", on_deploy="keep", products=None, more=""):
        self.project = Project(
            shape=SHAPE, environments={"dev": DEV % (hibernate, evict, on_deploy) + more}, products=products)
        self.node = None

    def start(self, *arguments, **keywords):
        self.node = self.project.dev("--no-log-requests", *arguments, **keywords)
        self.node.__enter__()
        return self

    def __enter__(self):
        return self.start()

    def __exit__(self, *details):
        if self.node:
            self.node.__exit__(*details)
        self.project.__exit__(*details)

    def isolate_pids(self):
        """All isolates, those for objects too: children of the node that run a worker's program already."""
        found = []
        for path in glob.glob("/proc/[0-9]*/stat"):
            try:
                with open(path) as file:
                    fields = file.read().rsplit(")", 1)[1].split()
                with open(os.path.dirname(path) + "/cmdline", "rb") as file:
                    line = file.read()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[1]) == self.node.process.pid and fields[0] != "Z" and b"\0--edge-isolate=" in line:
                found.append(int(path.split("/")[2]))
        return found

    def get(self, path, timeout=60, method="GET"):
        """The text of an answer; raises `Failed` for what is not 200. The node itself tries a GET again whose isolate dies."""
        answer = self.node.request(method, path, headers=HOST, timeout=timeout)
        if answer.status != 200:
            raise Failed(answer)
        return answer.text

    def calmly(self, path, **keywords):
        """As `get`, again for what may be done again: right after an isolate's death."""
        for _ in range(50):
            try:
                return self.get(path, **keywords)
            except Failed as failed:
                if not failed.failure.get("retryable"):
                    raise
                time.sleep(0.1)
        return self.get(path, **keywords)

    def json(self, path, **keywords):
        return json.loads(self.calmly(path, **keywords))

    def probe(self, name, path, **keywords):
        return self.get(f"/name/PROBES/{name}/{path}", **keywords)

    def account(self, name, path, **keywords):
        return self.get(f"/name/ACCOUNTS/{name}/{path}", **keywords)

    def plain(self, name, path, **keywords):
        return self.get(f"/name/PLAIN/{name}/{path}", **keywords)
