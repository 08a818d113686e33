"""WebSockets that workers open to a server of the library `websockets` (spec runtime, sections 1 and 2)."""

import os
import threading
import unittest
from urllib.parse import quote

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import serve

from harness import Node, product


class Outward(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node("run", product("HelloWorker"), "--no-log-requests", "--allow-private"))
        cls.origin = cls.node.url.replace("http", "ws", 1)

    def serve(self, **keywords):
        def answer(connection):
            try:
                for message in connection:
                    connection.send(message)
            except ConnectionClosed:
                pass  # With a code that isn't 1000: what the tests send.
        server = self.enterContext(serve(answer, "127.0.0.1", 0, max_size=None, **keywords))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return quote(f"http://127.0.0.1:{server.socket.getsockname()[1]}/")

    def test_messages_through_a_worker_and_past_it(self):
        texts = ("", "größer", "x" * 70_000, "line " * 100_000)
        for compression in ("deflate", None):
            url = self.serve(compression=compression)
            with self.subTest(compression=compression), connect(
                    f"{self.origin}/ws/outside/relay?url={url}", max_size=None) as ws:
                for text in texts:
                    ws.send(text)
                    self.assertTrue(ws.recv(timeout=60) == "relayed " + text)
                for message in (b"", os.urandom(70_000), bytes(1 << 20)):
                    ws.send(message)
                    self.assertTrue(ws.recv(timeout=60) == message)
            with self.subTest(compression=compression, way="past"), connect(
                    f"{self.origin}/ws/outside?pass&url={url}", max_size=None) as ws:
                for message in (*texts, b"", os.urandom(70_000), bytes(1 << 20)):
                    ws.send(message)
                    self.assertTrue(ws.recv(timeout=60) == message)
                ws.send(iter(["in ", "three ", "pieces"]))
                self.assertEqual(ws.recv(timeout=60), "in three pieces")
                self.assertTrue(ws.ping().wait(60))
                ws.close(4001, "x")
                self.assertEqual(ws.close_code, 4001)

    def test_a_protocol_is_chosen(self):
        url = self.serve(subprotocols=["chat", "other"])
        self.assertEqual(
            self.node.get(f"/ws/outside/open?url={url}&protocol=none&protocol=other").text, "protocol other")


if __name__ == "__main__":
    unittest.main()
