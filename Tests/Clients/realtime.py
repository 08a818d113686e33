"""What the suites of rooms share: accounts, sockets that speak the rooms' protocol, and the browser's own document under node."""

import json
import os
import subprocess
import time
import urllib.parse
import uuid

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from harness import ROOT
from projects import ASSETS, Project
from test_platform import FREE, JWT_KEY, PASSWORD, Account, call  # noqa: F401: what suites take from here

PROTOCOL = "edge.realtime.v1"
BOUND = 60


def platform(*arguments):
    """A project with the platform and its node, not started."""
    project = Project(dev_vars=f"JWT_KEY={JWT_KEY}\n")
    return project, project.dev("--no-watch", *FREE, *arguments)


def make_room(account, access="editor", name="Plan"):
    answer = account.call("POST", "/api/v1/realtime/rooms", {"name": name, "access": access})
    assert answer.status == 201, answer.text
    return answer.json()["room"]["id"]


def open_socket(node, path, token, protocols=None, **keywords):
    url = urllib.parse.urlsplit(node.url)
    return connect(
        f"ws://localhost:{url.port}{path}", subprotocols=protocols or [PROTOCOL, "bearer." + token], open_timeout=BOUND,
        max_size=None, **keywords)


class Member:
    """A connection to a room."""

    def __init__(self, account, room, client=None, revision=None):
        self.account = account
        self.client = client or uuid.uuid4().hex
        self.socket = open_socket(account.node, f"/api/v1/realtime/rooms/{room}/socket", account.access)
        self.sequence = 0
        self.seen = []
        self.send("join", client=self.client, **({} if revision is None else {"revision": revision}))
        self.joined = self.expect("joined")
        self.id = self.joined["you"]["id"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, kind, **fields):
        self.socket.send(json.dumps({"type": kind, **fields}))

    def expect(self, kind, where=lambda message: True, bound=BOUND):
        """The next message of a kind; what comes before it is kept in `seen`."""
        end = time.monotonic() + bound
        while True:
            try:
                message = json.loads(self.socket.recv(timeout=max(0, end - time.monotonic())))
            except TimeoutError:
                raise AssertionError(f"no {kind}; came: {self.seen[-10:]}") from None
            if message["type"] == kind and where(message):
                return message
            self.seen.append(message)

    def first(self, kind):
        """As `expect`, but one that came before something else will do."""
        for message in self.seen:
            if message["type"] == kind:
                self.seen.remove(message)
                return message
        return self.expect(kind)

    def ask(self, kind, answer, **fields):
        self.send(kind, **fields)
        return self.expect(answer)

    def operation(self, revision, components, sequence=None):
        if sequence is None:
            self.sequence += 1
            sequence = self.sequence
        self.send("operation", sequence=sequence, revision=revision, operation=components)
        return self.expect("ack", lambda message: message["sequence"] == sequence)

    def say(self, text, id=None):
        id = id or uuid.uuid4().hex
        self.send("chat", id=id, text=text)
        return self.expect("chat", lambda message: message["message"]["id"] == id)["message"]

    def closed(self):
        """The code and reason that the connection is ended with."""
        while True:
            try:
                self.socket.recv(timeout=BOUND)
            except ConnectionClosed as end:
                return (end.rcvd.code, end.rcvd.reason) if end.rcvd else (1006, "")


class Documents:
    """The browser's documents, one for each peer, under node."""

    def __init__(self):
        self.process = subprocess.Popen(
            ["node", "--no-warnings", os.path.join(ROOT, "Tests/Handlers/Collaboration/peers.mjs"), os.path.join(ROOT, ASSETS, "realtime")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, what, peer, **fields):
        self.process.stdin.write(json.dumps({"do": what, "peer": peer, **fields}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(10)
