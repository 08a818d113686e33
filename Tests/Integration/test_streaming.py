"""Bodies far larger than any buffer, at any speed of the client: memory stays flat, and nothing half stays behind."""

import hashlib
import http.client
import os
import socket
import threading
import time
import unittest

from harness import Node, product, wait_until

MIB = 1 << 20
GROWTH_MAX = 64 * MIB


def resident(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


class Memory:
    """Watches the resident memory of processes from a thread; `check` compares the peak with the start."""

    def __init__(self, test, node):
        self.test = test
        self.pids = {"node": node.process.pid}
        for worker in node.status()["workers"]:
            for pid in worker["pids"]:
                self.pids[f"isolate {pid}"] = pid
        self.start = {name: resident(pid) for name, pid in self.pids.items()}
        self.peak = dict(self.start)
        self.ends = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def watch(self):
        while not self.ends.wait(0.02):
            for name, pid in self.pids.items():
                try:
                    self.peak[name] = max(self.peak[name], resident(pid))
                except (FileNotFoundError, StopIteration):
                    self.peak[name] = 1 << 40  # It is gone, which no transfer may cause.

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.ends.set()
        self.thread.join()
        if kind is None:
            for name in self.pids:
                growth = self.peak[name] - self.start[name]
                self.test.assertLess(growth, GROWTH_MAX, f"{name} grew by {growth / MIB:.1f} MiB")


class Streaming(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = Node("run", product("StoreWorker"), "--kv", "KV", "--r2", "R2=bucket", "--body", "2GiB", "--no-log-requests",
                        "--worker", f"hello.localhost={product('HelloWorker')}").start()
        cls.addClassCleanup(cls.node.__exit__)
        # What is loaded and allocated once doesn't count.
        cls.node.request("PUT", "/r2/warm", body=b"x" * MIB)
        cls.node.get("/r2/warm")

    def pieces(self, count, digest=None, size=MIB, pause=0):
        block = os.urandom(size - 8)
        for number in range(count):
            piece = number.to_bytes(8, "big") + block
            if digest:
                digest.update(piece)
            yield piece
            if pause:
                time.sleep(pause)

    def put(self, path, count, digest, size=MIB, pause=0, headers=None, host="localhost", method="PUT"):
        connection = http.client.HTTPConnection("127.0.0.1", self.node.port, timeout=120)
        headers = {"Host": host, "Content-Length": str(count * size)} if headers is None else headers
        connection.request(
            method, path, body=self.pieces(count, digest, size, pause), headers=headers,
            encode_chunked="Transfer-Encoding" in headers)
        return connection

    def finish(self, connection):
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        self.assertEqual(answer.status, 200, body)
        return body

    def read(self, path, pause=0, piece=MIB, buffer=None):
        """The digest and length of an answer's body, read at a pace."""
        connection = http.client.HTTPConnection("127.0.0.1", self.node.port, timeout=120)
        connection.connect()
        if buffer:
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        connection.request("GET", path)
        answer = connection.getresponse()
        self.assertEqual(answer.status, 200)
        digest, length = hashlib.sha256(), 0
        while bytes := answer.read(piece):
            digest.update(bytes)
            length += len(bytes)
            if pause:
                time.sleep(pause)
        connection.close()
        return digest.hexdigest(), length

    def files(self):
        return {os.path.join(parent, name) for parent, _, names in os.walk(self.node.state) for name in names}

    def test_probe_28_one_gibibyte_to_the_bucket_and_back(self):
        digest = hashlib.sha256()
        with Memory(self, self.node):
            self.finish(self.put("/r2/large", 1024, digest))
            self.assertEqual(self.read("/r2/large"), (digest.hexdigest(), 1 << 30))
        self.assertEqual(self.node.request("DELETE", "/r2/large").status, 200)

    def test_read_inside_the_isolate(self):
        digest = hashlib.sha256()
        with Memory(self, self.node):
            self.finish(self.put("/r2/inside", 256, digest))
            self.assertEqual(self.node.get("/r2-length/inside").text, str(256 * MIB))
        self.node.request("DELETE", "/r2/inside")

    def test_slow_reader(self):
        digest = hashlib.sha256()
        with Memory(self, self.node):
            self.finish(self.put("/r2/slow", 128, digest))
            # From the file, and through an isolate that produces much faster.
            self.assertEqual(self.read("/r2/slow", pause=0.02, buffer=65536), (digest.hexdigest(), 128 * MIB))
        self.node.request("DELETE", "/r2/slow")

    def test_probe_28_a_slow_reader_of_a_worker_that_streams(self):
        with Memory(self, self.node):
            connection = self.node.connect(timeout=60)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            connection.sendall(b"GET /stream/2048 HTTP/1.1\r\nHost: hello.localhost\r\nConnection: close\r\n\r\n")
            length = 0
            while piece := connection.recv(MIB):
                length += len(piece)
                if length < 16 * MIB:
                    time.sleep(0.01)
            connection.close()
        self.assertGreater(length, 2048 * 65536)

    def test_slow_writer(self):
        digest = hashlib.sha256()
        with Memory(self, self.node):
            self.finish(self.put("/r2/trickle", 100, digest, size=10_000, pause=0.04))
            self.assertEqual(self.read("/r2/trickle"), (digest.hexdigest(), 1_000_000))

    def test_chunked_upload(self):
        # R2 needs the length before: a worker that passes on a body of unknown length is told so, or it is stored.
        digest = hashlib.sha256()
        connection = self.put(
            "/length", 64, digest, headers={"Host": "hello.localhost", "Transfer-Encoding": "chunked"}, method="POST")
        self.assertEqual(self.finish(connection), str(64 * MIB).encode())

    def test_echo_at_both_ends(self):
        # Reads the answer while it writes the request: either side may be the slower one.
        digest, answer = hashlib.sha256(), hashlib.sha256()
        count = 256
        with Memory(self, self.node):
            connection = self.node.connect(timeout=60)
            connection.sendall(
                f"POST /echo HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: {count * MIB}\r\n"
                "Connection: close\r\n\r\n".encode())

            def write():
                for piece in self.pieces(count, digest):
                    connection.sendall(piece)

            writer = threading.Thread(target=write, daemon=True)
            writer.start()
            file = connection.makefile("rb")
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += file.readline()
            self.assertTrue(head.startswith(b"HTTP/1.1 200"), head)
            length = 0
            if b"chunked" in head.lower():
                while size := int(file.readline(), 16):
                    piece = file.read(size)
                    answer.update(piece)
                    length += size
                    file.read(2)
            else:
                while piece := file.read(MIB):
                    answer.update(piece)
                    length += len(piece)
            writer.join()
            file.close()
            connection.close()
        self.assertEqual((answer.hexdigest(), length), (digest.hexdigest(), count * MIB))

    def test_aborted_uploads_leave_nothing(self):
        before = self.files()
        for sent, announced in [(0, 64 * MIB), (1000, 64 * MIB), (20 * MIB, 64 * MIB), (64 * MIB - 1, 64 * MIB)]:
            with self.subTest(sent=sent):
                connection = self.node.connect(timeout=60)
                connection.sendall(
                    f"PUT /r2/aborted HTTP/1.1\r\nHost: a\r\nContent-Length: {announced}\r\n\r\n".encode())
                left = sent
                while left > 0:
                    piece = bytes(min(left, MIB))
                    connection.sendall(piece)
                    left -= len(piece)
                if sent:
                    time.sleep(0.2)  # Let some of it arrive in the store.
                connection.close()
        wait_until(lambda: self.node.status()["connections"] <= 1, 20, "the end of the connections")
        self.assertEqual(self.node.get("/r2/aborted").status, 404)
        wait_until(lambda: self.files() == before, 20, f"no more than before: {self.files() - before}")
        self.assertEqual(self.node.get("/r2/warm").status, 200)

    def test_probe_28_aborted_downloads_free_their_streams(self):
        self.finish(self.put("/r2/half", 32, None))
        with Memory(self, self.node):
            for number in range(40):
                connection = self.node.connect()
                path, host = [("/r2/half", "a"), ("/stream/512", "hello.localhost")][number % 2]
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                self.assertTrue(connection.recv(65536).startswith(b"HTTP/1.1 200"))
                connection.close()
            wait_until(lambda: self.node.status()["connections"] <= 1, 20, "the end of the connections")
        self.assertEqual(self.node.get("/r2-length/half").text, str(32 * MIB))


if __name__ == "__main__":
    unittest.main()
