"""R2 through a real node: uploads in parts, copies and encrypted objects, as large bodies that flow both ways."""

import glob
import hashlib
import http.client
import os
import random
import socket
import threading
import time
import unittest

from harness import Node, product, wait_until
from projects import Project
from test_streaming import MIB, Memory

PART = 16 * MIB
KEY = "0123456789abcdef" * 4
SHAPE = """format = 1
tenant = "acme"
compatibility_date = "2026-08-01"
[workers.store]
product = "StoreWorker"
routes = ["{domain}/*"]
r2 = [{ binding = "R2", resource = "bucket" }]
"""


class Objects(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = Node("run", product("StoreWorker"), "--kv", "KV", "--r2", "R2=bucket", "--body", "2GiB",
                        "--no-log-requests").start()
        cls.addClassCleanup(cls.node.__exit__)
        cls.node.request("PUT", "/r2/warm", body=b"x" * MIB)
        cls.node.get("/r2/warm")

    def ask(self, method, path, body=None, status=200, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.node.request(method, path, body=body, headers=headers)
        self.assertEqual(answer.status, status, answer.text if len(answer.body) < 1000 else "a long answer")
        return answer

    def upload(self, key, count, **headers):
        """An object of `count` full parts and an end; its bytes."""
        parts = [os.urandom(8) + bytes([number]) * (PART - 8) for number in range(count)] + [b"the end"]
        upload = self.ask("POST", f"/r2-uploads/{key}", **headers).text
        for number, part in reversed(list(enumerate(parts, 1))):
            etag = self.ask("PUT", f"/r2-parts/{upload}/{number}/{key}", part, **headers).text
            self.assertEqual(etag, hashlib.md5(part).hexdigest())
        etag = self.ask("POST", f"/r2-complete/{upload}/{key}").text
        digests = b"".join(hashlib.md5(part).digest() for part in parts)
        self.assertEqual(etag, f"{hashlib.md5(digests).hexdigest()}-{len(parts)}")
        return b"".join(parts)

    def open_blobs(self):
        blobs = []
        for link in glob.glob(f"/proc/{self.node.process.pid}/fd/*"):
            try:
                target = os.readlink(link)
            except FileNotFoundError:
                continue
            if "/r2/blobs/" in target:
                blobs.append(target)
        return blobs

    def stored_blobs(self):
        return set(glob.glob(f"{self.node.state}/local/r2/blobs/*/*"))

    def test_parts_and_copies(self):
        with Memory(self, self.node):
            whole = self.upload("parts", 3)
            self.assertEqual(self.ask("GET", "/r2/parts").body, whole)
            self.ask("POST", "/r2-copy/copied/parts")
            self.ask("DELETE", "/r2/parts")
            self.assertEqual(self.ask("GET", "/r2/copied").body, whole)
            for first, last in [(0, 0), (PART - 5, PART + 5), (PART - 1, 3 * PART), (len(whole) - 9, len(whole) - 1)]:
                part = self.ask("GET", "/r2-sealed/copied", Range=f"bytes={first}-{last}").body
                self.assertEqual(part, whole[first:last + 1], (first, last))
        missing = self.ask("POST", "/r2-copy/x/missing", status=409).text
        self.assertEqual(missing, "copy: The specified key does not exist. (10007)")
        self.ask("DELETE", "/r2/copied")

    def test_pieces_are_sent_from_their_files_one_at_a_time(self):
        before = self.stored_blobs()
        whole = self.upload("slow", 3)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.settimeout(60)
            client.connect(("127.0.0.1", self.node.port))
            client.sendall(b"GET /r2/slow HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            # The client doesn't read: the file that the kernel sends stays open, and no other.
            wait_until(lambda: len(self.open_blobs()) == 1, what="the open blob")
            seen, received = set(self.open_blobs()), bytearray()
            while piece := client.recv(4 * MIB):
                received += piece
                blobs = self.open_blobs()
                self.assertLessEqual(len(blobs), 1)
                seen.update(blobs)
            body = bytes(received.split(b"\r\n\r\n", 1)[1])
            self.assertEqual(hashlib.sha256(body).digest(), hashlib.sha256(whole).digest())
            self.assertGreaterEqual(len(seen), 3)
        # A client that leaves in the middle leaves nothing open.
        with socket.socket() as client:
            client.connect(("127.0.0.1", self.node.port))
            client.sendall(b"GET /r2/slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
            client.recv(MIB)
        wait_until(lambda: not self.open_blobs(), what="the end of the abandoned answer")
        # The connection goes on after such an answer.
        self.assertEqual(self.ask("HEAD", "/r2/slow").header("content-length"), str(len(whole)))
        self.assertEqual(self.ask("GET", "/r2/slow").body, whole)
        # A file that is missing cuts the answer short, and nothing else.
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.settimeout(60)
            client.connect(("127.0.0.1", self.node.port))
            client.sendall(b"GET /r2/slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
            wait_until(lambda: len(self.open_blobs()) == 1, what="the open blob")
            for path in self.stored_blobs() - before - set(self.open_blobs()):
                os.remove(path)
            received = 0
            while piece := client.recv(4 * MIB):
                received += len(piece)
            self.assertLess(received, 2 * PART)
        self.assertEqual(self.ask("GET", "/r2/warm").body, b"x" * MIB)
        self.ask("DELETE", "/r2/slow")
        wait_until(lambda: not self.stored_blobs() - before,
                   what=lambda: f"the removal of {len(self.stored_blobs() - before)} blobs")

    def test_encrypted_objects_stream(self):
        body = os.urandom(8) + bytes(96 * MIB)
        with Memory(self, self.node):
            md5 = self.ask("PUT", "/r2-sealed/sealed", body, x_key=KEY).text
            self.assertEqual(md5, hashlib.md5(bytes.fromhex(KEY)).hexdigest())
            self.assertEqual(self.ask("GET", "/r2-sealed/sealed", x_key=KEY).body, body)
            part = self.ask("GET", "/r2-sealed/sealed", x_key=KEY, Range="bytes=0-70000").body
            self.assertEqual(part, body[:70001])
        self.assertIn("(10029)", self.ask("GET", "/r2-sealed/sealed", status=409).text)
        self.assertEqual(
            self.ask("GET", "/r2-sealed/sealed", status=409, x_key=KEY[::-1]).text, "get: Access Denied (10003)")
        whole = self.upload("sealed-parts", 2, x_key=KEY)
        self.assertEqual(self.ask("GET", "/r2-sealed/sealed-parts", x_key=KEY).body, whole)
        seam = self.ask("GET", "/r2-sealed/sealed-parts", x_key=KEY, Range=f"bytes={PART - 3}-{PART + 3}").body
        self.assertEqual(seam, whole[PART - 3:PART + 4])


class Killed(unittest.TestCase):
    """kill -9 at any moment of encrypted puts, copies (with links, and with another encryption) and uploads in parts."""

    ROUNDS = 6

    def content(self, number):
        block = hashlib.sha256(str(number).encode()).digest()
        return block * [1, 500, 4000, 40_000][number % 4]

    def run_lane(self, node, lane, generator, ledger):
        """Writes until the node is gone. The ledger gets what was begun and what was acknowledged: key -> (content, key)."""
        begun, acknowledged = ledger
        sequence = 0

        def ask(method, path, body=None, headers=None):
            answer = node.request(method, path, body=body, headers=headers or {})
            if answer.status != 200:
                raise AssertionError(f"{method} {path}: {answer.status} {answer.text}")
            return answer.text

        while node.process.poll() is None:
            sequence += 1
            number = generator.randrange(1000)
            content, sealed = self.content(number), {"x-key": KEY}
            base = f"{lane}-{sequence}"
            try:
                begun[f"sealed-{base}"] = (content, sealed)
                ask("PUT", f"/r2-sealed/sealed-{base}", content, sealed)
                acknowledged.add(f"sealed-{base}")
                begun[f"plain-{base}"] = (content, {})
                ask("PUT", f"/r2-sealed/plain-{base}", content)
                acknowledged.add(f"plain-{base}")
                begun[f"copy-{base}"] = (content, {})
                ask("POST", f"/r2-copy/copy-{base}/plain-{base}")
                acknowledged.add(f"copy-{base}")
                begun[f"parts-{base}"] = (content, sealed)
                upload = ask("POST", f"/r2-uploads/parts-{base}", headers=sealed)
                ask("PUT", f"/r2-parts/{upload}/1/parts-{base}", content, sealed)
                ask("POST", f"/r2-complete/{upload}/parts-{base}")
                acknowledged.add(f"parts-{base}")
            except (OSError, http.client.HTTPException):
                return

    def test_acknowledged_objects_survive_and_nothing_else_stays(self):
        seed = random.randrange(1 << 32)
        generator = random.Random(seed)
        begun, acknowledged = {}, set()
        node = Node("run", product("StoreWorker"), "--kv", "KV", "--r2", "R2=bucket", "--no-log-requests")
        self.addCleanup(node.__exit__)
        for round in range(self.ROUNDS):
            node.start()
            ledgers = [({}, set()) for _ in range(3)]
            lanes = [
                threading.Thread(
                    target=self.run_lane, daemon=True,
                    args=(node, f"{round}-{lane}", random.Random(generator.random()), ledger))
                for lane, ledger in enumerate(ledgers)]
            for lane in lanes:
                lane.start()
            time.sleep(generator.uniform(0.4, 1.2))
            node.kill()
            for lane in lanes:
                lane.join(60)
            for one, other in ledgers:
                begun.update(one)
                acknowledged |= other
        self.assertGreater(len(acknowledged), 20, f"seed {seed}")
        node.start()
        for key, (content, headers) in begun.items():
            answer = node.request("GET", f"/r2-sealed/{key}", headers=headers)
            if answer.status == 404:
                self.assertNotIn(key, acknowledged, f"seed {seed}")
            else:
                self.assertEqual((answer.status, answer.body == content), (200, True), f"{key}, seed {seed}")
        # With their objects all files go, and the sweep at the next start takes what the kills left. What is left then are
        # the parts of uploads that were cut off.
        for key in begun:
            node.request("DELETE", f"/r2/{key}")
        node.kill()
        node.start()
        most = self.ROUNDS * 3
        wait_until(lambda: len(glob.glob(f"{node.state}/local/r2/blobs/*/*")) <= most, what=f"the sweep, seed {seed}")
        wait_until(lambda: not glob.glob(f"{node.state}/local/r2/tmp/*"), what=f"the sweep, seed {seed}")


class WriteRate(unittest.TestCase):
    def refused(self, environment):
        """What the second of two copies to one key is answered; both within the second, unless the machine stands still."""
        with Project(SHAPE, {"dev": 'format = 1\ndomain = "localhost"\n' + environment}) as project:
            with project.dev("--no-watch") as node:
                node.request("PUT", "/r2/source", body=b"x")
                for attempt in range(5):
                    answers = [node.request("POST", f"/r2-copy/target-{attempt}/source") for _ in range(2)]
                    if answers[1].status != 200:
                        return answers[1].text
                self.assertEqual({answer.status for answer in answers}, {200})

    def test_writes_of_a_key_are_limited_where_the_environment_says_so(self):
        self.assertIsNone(self.refused(""))
        self.assertRegex(self.refused("r2 = { write_rate_limit = true }\n"), r"^copy: .*\(10058\)$")


if __name__ == "__main__":
    unittest.main()
