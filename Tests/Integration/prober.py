"""Clients that check every answer while releases are exchanged: nothing lost, nothing done twice, nothing of two releases.

They talk to CutoverWorker, whose answers name the release of each worker that they passed through.
"""

import json
import random
import socket
import threading
import time

from load import Requester

BLOCK = random.Random(7).randbytes(1 << 20)

# Two workers of one program, so that a request can pass through both.
SHAPE = """format = 1
tenant = "t"
compatibility_date = "2026-08-01"
[workers.front]
product = "CutoverWorker"
routes = ["{domain}/*"]
services = [{ binding = "BACK", worker = "back" }]
d1 = [{ binding = "DB", resource = "notes", migrations = "migrations/notes" }]
queues.produce = [{ binding = "QUEUE", queue = "jobs" }]
crons = ["* * * * *"]
vars = { RELEASE = "@RELEASE@" @FRONT@ }
[workers.back]
product = "CutoverWorker"
d1 = [{ binding = "DB", resource = "notes" }]
queues.consume = [{ queue = "jobs", timeout = "0s" }]
vars = { RELEASE = "@RELEASE@" @BACK@ }
[queues.jobs]
"""
MIGRATION = "CREATE TABLE notes (kind TEXT, id TEXT, release TEXT, length INTEGER);\nCREATE INDEX by_kind ON notes (kind, id);\n"


def shape(release, front="", back=""):
    """The configuration of a release; `front` and `back` are further variables, as `FAILS = "20"`."""
    comma = lambda text: f", {text}" if text else ""
    return SHAPE.replace("@RELEASE@", str(release)).replace("@FRONT@", comma(front)).replace("@BACK@", comma(back))


class Prober:
    """A context manager: clients of each kind ask until its end; `check` then looks at all that they were told."""

    def __init__(self, port, host="localhost", seed=None):
        self.port, self.host = port, host
        self.seed = random.randrange(1 << 32) if seed is None else seed
        self.lock = threading.Lock()
        self.failures = []
        self.counts = {}
        self.releases = {}
        self.appended, self.sent = set(), set()
        self.ends = False
        lanes = [self.ask_both] * 2 + [self.connect_anew, self.append, self.append_large, self.echo, self.listen,
                                       self.pipeline, self.send]
        self.threads = [
            threading.Thread(target=self.run, args=(lane, number), daemon=True) for number, lane in enumerate(lanes)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ends = True
        for thread in self.threads:
            thread.join(60)

    # What one client does, again and again

    def run(self, lane, number):
        generator = random.Random(self.seed + number)
        requester = Requester(self.port, timeout=60)
        sequence = 0
        while not self.ends:
            sequence += 1
            try:
                lane(requester, generator, f"{number}-{sequence}")
            except Exception as error:
                self.fail(lane, f"{type(error).__name__}: {error}")
            with self.lock:
                self.counts[lane.__name__] = self.counts.get(lane.__name__, 0) + 1
            # They are to notice what goes wrong, not to wear the machine out.
            time.sleep(0.01)
        requester.close()

    def fail(self, lane, what):
        with self.lock:
            self.failures.append((time.strftime("%H:%M:%S"), lane.__name__, what))
        time.sleep(0.05)

    def saw(self, release):
        with self.lock:
            self.releases.setdefault(release, [time.monotonic(), 0])[1] = time.monotonic()

    def call(self, requester, method, path, body=None, headers=None):
        status, content = requester.request(method, path, body, {"Host": self.host, **(headers or {})})
        if status != 200:
            raise AssertionError(f"{method} {path}: {status} {content[:200]}")
        return content

    def ask_both(self, requester, generator, _):
        answer = json.loads(self.call(requester, "GET", "/who"))
        if answer["front"] != answer["back"]:
            raise AssertionError(f"two releases in one request: {answer}")
        self.saw(answer["front"])

    def connect_anew(self, requester, generator, _):
        requester.close()
        self.saw(self.call(requester, "GET", "/self").decode())

    def append(self, requester, generator, name, length=None):
        start = generator.randrange(len(BLOCK) // 2)
        body = BLOCK[start:start + (length or generator.choice([1, 100, 20_000]))]
        answer = json.loads(self.call(requester, "POST", f"/append/{name}", body))
        with self.lock:
            self.appended.add(name)
        if (answer["length"], answer["sum"]) != (str(len(body)), str(sum(body))):
            raise AssertionError(f"{name}: {answer}, sent {len(body)} {sum(body)}")

    def append_large(self, requester, generator, name):
        """Ten megabytes in pieces: on their way while releases change."""
        def pieces():
            for _ in range(10):
                yield BLOCK
                time.sleep(0.02)

        answer = json.loads(self.call(requester, "POST", f"/append/{name}", pieces()))
        with self.lock:
            self.appended.add(name)
        if answer["length"] != str(10 * len(BLOCK)):
            raise AssertionError(f"{name}: {answer}")
        time.sleep(0.5)

    def echo(self, requester, generator, _):
        """A chunked upload that comes back while it is sent."""
        body = [BLOCK[:generator.randrange(1, 60_000)] for _ in range(4)]
        if self.call(requester, "POST", "/echo", iter(body)) != b"".join(body):
            raise AssertionError("not what was sent")

    def listen(self, requester, generator, _):
        lines = self.call(requester, "GET", "/events/10/100").decode().split("\n\n")
        numbers, releases = zip(*(line.removeprefix("data: ").split(" ", 1) for line in lines if line))
        if numbers != tuple(str(number) for number in range(1, 11)) or len(set(releases)) != 1:
            raise AssertionError(f"events: {lines}")

    def pipeline(self, _, generator, name):
        """Several requests at once on a connection."""
        count = generator.randrange(2, 9)
        request = f"GET /self HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(request * (count - 1) + request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            received = b""
            while piece := connection.recv(65536):
                received += piece
        if received.count(b"HTTP/1.1 200 ") != count:
            raise AssertionError(f"{count} requests were answered with {received[:2000]}")

    def send(self, requester, generator, name):
        self.call(requester, "POST", f"/send/{name}")
        with self.lock:
            self.sent.add(name)
        time.sleep(0.02)

    # What came of it

    def check(self, case, wait_until):
        """After the end, on a node that still serves."""
        case.assertEqual(self.failures[:5], [], f"{len(self.failures)} failures; seed {self.seed}; {self.counts}")
        requester = Requester(self.port)
        ids = lambda kind: set(self.call(requester, "GET", f"/ids/{kind}").decode().split("\n"))
        case.assertEqual(json.loads(self.call(requester, "GET", "/odd/request")), [], "done twice")
        case.assertEqual(self.appended - ids("request"), set(), "acknowledged and not done")
        case.assertEqual(ids("request") - self.appended - {""}, set(), "done and not acknowledged")
        wait_until(lambda: self.sent <= ids("message"), 60, "all messages")
        case.assertEqual(json.loads(self.call(requester, "GET", "/odd/cron")), [], "a cron ran twice")
        for lane in ("ask_both", "connect_anew", "append", "append_large", "echo", "listen", "pipeline", "send"):
            case.assertGreater(self.counts.get(lane, 0), 0, lane)
        requester.close()
