"""Everything that a node does, all at once, while isolates die and clients leave: nothing of it may stay behind.

EDGE_SEED repeats the choices (not the timing).
"""

import os
import random
import socket
import threading
import time
import unittest

from harness import Node, product, wait_until
from load import Requester, in_threads

SEED = int(os.environ.get("EDGE_SEED", random.randrange(1 << 32)))
STORE = "store.localhost"
SECONDS = 15


class Mayhem(unittest.TestCase):
    def setUp(self):
        self.node = Node(
            "run", product("HelloWorker"), "--kv", "KV", "--d1", "DB", "--r2", "R2=bucket", "--queue", "QUEUE=jobs",
            "--service", f"SERVICE={product('HelloWorker')}", "--worker", f"{STORE}={product('StoreWorker')}",
            "--allow-private", "--isolates", "3", "--no-log-requests").start()
        self.addCleanup(self.node.__exit__)
        self.assertEqual(
            self.node.request("POST", "/d1/exec", body="CREATE TABLE pairs (id INTEGER, side TEXT)", host=STORE).status, 200)
        self.assertEqual(self.node.request("PUT", "/r2/object", body=bytes(2 << 20), host=STORE).status, 200)
        # The outside is another node: connections that this one keeps to it are not its clients'.
        outside = Node("run", product("HelloWorker"), "--no-log-requests").start()
        self.addCleanup(outside.__exit__)
        self.requests = [
            ("GET", "/hello", None, None), ("GET", "/stream/64", None, None), ("GET", "/sleep/50", None, None),
            ("POST", "/echo", bytes(2 << 20), None), ("POST", "/length", bytes(3 << 20), None),
            ("GET", "/service/stream/32", None, None), ("GET", "/service/sleep/50", None, None),
            ("GET", f"/fetch?url={outside.url}/stream/32", None, None), ("GET", f"/fetch?url={outside.url}/sleep/50", None, None),
            ("GET", "/later/300", None, None), ("GET", "/log/100", None, None), ("GET", "/blocking", None, None),
            ("PUT", "/kv/key", b"value", None), ("GET", "/r2/object", None, None),
            ("PUT", "/r2/written", bytes(1 << 20), STORE), ("GET", "/r2/object", None, STORE),
            ("GET", "/r2-length/object", None, STORE), ("PUT", "/d1/pair/1", b"", STORE),
            ("POST", "/queue", b"message", STORE), ("GET", "/bench/kv-put/200/20", None, STORE),
        ]

    def test_nothing_stays_behind(self):
        generator = random.Random(SEED)
        for method, path, body, host in self.requests:
            self.assertIn(self.node.request(method, path, body=body, host=host).status, [200, 204], path)
        before = self.descriptors()
        self.ends = threading.Event()
        self.silent, self.answers, self.kills = [], {}, 0
        seeds = [generator.randrange(1 << 32) for _ in range(9)]
        works = [self.kill_isolates] + [self.ask] * 5 + [self.leave] * 3
        timer = threading.Timer(SECONDS, self.ends.set)
        timer.start()
        try:
            in_threads(len(works), lambda number: works[number](random.Random(seeds[number])))
        finally:
            self.ends.set()
            timer.cancel()
        what = f"EDGE_SEED={SEED} answers={self.answers} kills={self.kills}"
        self.assertIsNone(self.node.process.poll(), what)
        self.assertEqual(self.silent, [], what)
        self.assertGreater(self.kills, 5, what)
        self.assertGreater(self.answers.get(200, 0), 100, what)
        self.assertEqual(set(self.answers) - {200, 204, 404, 500, 503, "broken"}, set(), what)
        wait_until(lambda: len(self.node.isolate_pids()) == 9, 60, "all isolates again")
        for method, path, body, host in self.requests:
            self.assertIn(self.node.request(method, path, body=body, host=host).status, [200, 204], f"{path} {what}")
        wait_until(
            lambda: self.node.status()["connections"] <= 1 and self.node.status()["waitingEvents"] == 0, 40,
            lambda: f"the end of all connections: {self.node.status()}")
        # A few for connections to the outside that are kept, and files that stores hold open.
        wait_until(
            lambda: len(self.descriptors()) <= len(before) + 8, 20,
            lambda: f"{len(before)} descriptors again: {sorted(self.descriptors().values())}")
        temporary = os.path.join(self.node.state, "local", "r2", "tmp")
        wait_until(lambda: not self.files(temporary), 20, lambda: f"no temporary objects: {self.files(temporary)}")
        with open(f"/proc/{self.node.process.pid}/status") as status:
            resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
        self.assertLess(resident, 400 << 10, what)
        self.assertEqual(self.node.stop(), 0)

    def descriptors(self):
        found = {}
        directory = f"/proc/{self.node.process.pid}/fd"
        for name in os.listdir(directory):
            try:
                found[name] = os.readlink(os.path.join(directory, name))
            except FileNotFoundError:
                pass
        return found

    def files(self, directory):
        return os.listdir(directory) if os.path.isdir(directory) else []

    def kill_isolates(self, generator):
        while not self.ends.wait(generator.uniform(0.1, 0.8)):
            workers = [w for w in self.node.status()["workers"] if len(w["pids"]) > 1]
            if workers:
                try:
                    os.kill(generator.choice(generator.choice(workers)["pids"]), 9)
                    self.kills += 1
                except ProcessLookupError:
                    pass

    def ask(self, generator):
        requester = Requester(self.node.port, timeout=40)
        while not self.ends.is_set():
            method, path, body, host = generator.choice(self.requests)
            try:
                outcome, _ = requester.request(method, path, body, {"Host": host} if host else None)
            except TimeoutError:
                self.silent.append(path)
                continue
            except Exception:
                outcome = "broken"
            self.answers[outcome] = self.answers.get(outcome, 0) + 1
        requester.close()

    def leave(self, generator):
        """Clients that go away in the middle: of their request, or of the answer."""
        while not self.ends.is_set():
            method, path, body, host = generator.choice(self.requests)
            body = body or b""
            head = f"{method} {path} HTTP/1.1\r\nHost: {host or 'a'}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            message = head + body
            try:
                with self.node.connect(timeout=40) as connection:
                    connection.sendall(message[:generator.choice([len(message), len(message), len(head) + len(body) // 2])])
                    if generator.random() < 0.5:
                        time.sleep(generator.uniform(0, 0.05))
                    elif len(message) == len(head) + len(body):
                        connection.settimeout(1)
                        connection.recv(generator.choice([1, 1000, 100_000]))
                    if generator.random() < 0.5:  # A reset rather than an end.
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            except OSError:
                pass


if __name__ == "__main__":
    unittest.main()
