"""WebSockets in workers' hands (spec runtime, section 2; durable-objects, section 5; deploys, C4)."""

import socket
import ssl
import struct
import threading
import unittest

from harness import Node, product, wait_until
from projects import Project
from raw_websocket import BINARY, CLOSE, PING, PONG, TEXT, RawWebSocket, Refused
from test_streaming import Memory


class Sockets(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node(
            "run", product("HelloWorker"), "--no-log-requests", "--isolates", "1", "--kv", "KV",
            "--service", f"SERVICE={product('HelloWorker')}"))

    def open(self, path, **keywords):
        keywords.setdefault("protocol", None)
        keywords.setdefault("timeout", 60)
        return RawWebSocket(self.node.url + path, **keywords)

    def last(self):
        return self.node.get("/ws/last").text

    def wait_for_last(self, text):
        wait_until(lambda: self.last() == text, 30, lambda: f"{text!r}; the last is {self.last()!r}")

    # MARK: The handshake

    def test_probe_27_misuse_has_the_documented_messages(self):
        not_accepted = ("TypeError: You must call one of accept() or state.acceptWebSocket() on this WebSocket before sending "
                        "messages.")
        self.assertEqual(self.node.get("/ws/errors").text.split("\n"), [
            not_accepted,
            *(f"TypeError: Invalid WebSocket close code: {code}." for code in (999, 1001, 1005, 1006, 1015, 2999, 5000)),
            "TypeError: If you specify a WebSocket close reason, you must also specify a code.",
            "TypeError: A WebSocket close reason has at most 123 bytes of UTF-8, not 124.",
            "nothing", "nothing", "TypeError: Can't call WebSocket send() after close().",
        ])

    def test_probe_27_a_request_without_upgrade_gets_1101(self):
        for path in ("/ws/always", "/ws/echo", "/ws/pair"):
            answer = self.node.get(path)
            self.assertEqual(answer.status, 500)
            self.assertIn("1101", answer.text)
        self.node.wait_for_log(
            "Worker tried to return a WebSocket in a response to a request which did not contain the header "
            '"Upgrade: websocket".')
        self.assertIn("1101", self.node.get("/ws/without-socket").text)
        self.node.wait_for_log(
            "Responses may only be constructed with status codes in the range 200 to 599, inclusive. (got 101)")
        with self.assertRaises(Refused) as caught:
            self.open("/ws/accepted")
        self.assertEqual(caught.exception.status, 500)
        self.node.wait_for_log("Can't return WebSocket in a Response after calling accept().")

    def test_what_is_no_handshake_is_refused(self):
        with self.assertRaises(Refused) as caught:
            self.open("/ws/echo", version="8")
        self.assertEqual(caught.exception.status, 426)
        self.assertIn("sec-websocket-version: 13", caught.exception.head.lower())
        with self.assertRaises(Refused) as caught:
            self.open("/ws/echo", key="short")
        self.assertEqual(caught.exception.status, 400)
        # Any other method, and HTTP/1.0, know no such upgrades: for the worker it is an ordinary request.
        lines = "Host: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        lines += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        for start in ("POST /hello HTTP/1.1\r\nContent-Length: 0\r\nConnection: close\r\n", "GET /hello HTTP/1.0\r\n"):
            self.assertIn(b" 200 ", self.node.raw((start + lines).encode()).split(b"\r\n")[0])
        # A worker may answer with something else.
        with self.assertRaises(Refused) as caught:
            self.open("/hello")
        self.assertEqual((caught.exception.status, caught.exception.body), (200, b"hello"))

    def test_frames_in_one_piece_with_the_request(self):
        with self.open("/ws/echo", behind=RawWebSocket.frame(TEXT, b"early") + RawWebSocket.frame(PING, b"p")) as ws:
            self.assertEqual(sorted([ws.receive(), ws.receive()]), [(TEXT, b"early"), (PONG, b"p")])

    def test_what_the_worker_says_before_its_answer_comes_first(self):
        with self.open("/ws/pair") as ws:
            self.assertEqual(ws.receive(), (TEXT, b"hello"))
            ws.send(BINARY, b"\0\1")
            self.assertEqual(ws.receive(), (BINARY, b"\0\1"))

    def test_nothing_is_delivered_before_accept_and_nothing_lost(self):
        with self.open("/ws/late/300") as ws:
            for number in range(10):
                ws.send(TEXT, str(number).encode())
            self.assertEqual([ws.receive()[1] for _ in range(10)], [str(number).encode() for number in range(10)])

    def test_through_tls(self):
        with Node("run", product("HelloWorker"), "--https", "--no-log-requests") as node:
            context = ssl._create_unverified_context()
            with RawWebSocket(node.url + "/ws/echo", protocol=None, tls=context, timeout=60) as ws:
                for size in (5, 100_000, 5):
                    ws.send(TEXT, b"x" * size)
                    self.assertEqual(ws.receive(), (TEXT, b"x" * size))
                ws.send(CLOSE, struct.pack(">H", 1000))
                self.assertEqual(ws.close_code()[0], 1000)

    # MARK: The end

    def test_the_worker_learns_how_it_ended(self):
        with self.open("/ws/echo") as ws:
            ws.send(CLOSE, struct.pack(">H", 4001) + b"x")
            self.assertEqual(ws.close_code(), (4001, ""))
        self.wait_for_last("4001 x clean closed")
        with self.open("/ws/echo") as ws:
            ws.send(CLOSE)
            self.assertEqual(ws.close_code(), (None, ""))
        self.wait_for_last("1005  clean closed")
        ws = self.open("/ws/pair")
        ws.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        ws.socket.close()
        self.wait_for_last("1006 WebSocket disconnected without sending Close frame. unclean closed")
        with self.open("/ws/echo") as ws:
            ws.send(TEXT, b"\xff")
            self.assertEqual(ws.close_code()[0], 1007)
        self.wait_for_last("1006 text is not UTF-8 unclean closed")

    def test_the_worker_closes(self):
        for text, code, reason in ((b"close", None, ""), (b"close 1000", 1000, ""), (b"close 4999 why", 4999, "why")):
            with self.open("/ws/echo") as ws:
                ws.send(TEXT, text)
                self.assertEqual(ws.close_code(), (code, reason))
                ws.send(CLOSE, struct.pack(">H", code or 1000))
                self.assertTrue(ws.is_ended())

    def test_a_client_that_never_answers_a_close_is_let_go(self):
        with self.open("/ws/echo") as ws:
            ws.send(TEXT, b"close 1000")
            self.assertEqual(ws.close_code(), (1000, ""))
            self.assertTrue(ws.is_ended())

    def test_a_worker_that_throws_or_dies_closes_with_1011(self):
        with self.open("/ws/echo") as ws:
            ws.send(TEXT, b"throw")
            self.assertEqual(ws.close_code(), (1011, "the worker failed"))
        self.node.wait_for_log("uncaught error in a WebSocket: Failure: this socket always fails")
        with self.open("/ws/echo") as first, self.open("/ws/pair") as second:
            first.send(TEXT, b"exit")
            self.assertEqual(first.close_code()[0], 1011)
            # It was in the same isolate, or it wasn't.
            second.send(CLOSE, struct.pack(">H", 1000))
            self.assertIn(second.close_code()[0], (1000, 1011))
        wait_until(lambda: self.node.get("/hello").status == 200, 30)

    def test_a_socket_that_nobody_holds_is_closed(self):
        with self.open("/ws/dropped") as ws:
            self.assertEqual(ws.close_code(), (1001, "the worker let go of the WebSocket"))

    def test_calls_of_a_conversation_also_behind_its_end(self):
        with self.open("/ws/kv/socket") as ws:
            for number in range(3):
                ws.send(TEXT, str(number).encode())
                self.assertEqual(ws.receive(), (TEXT, f"stored {number}".encode()))
            ws.send(CLOSE, struct.pack(">H", 4002))
            ws.close_code()
        wait_until(lambda: self.node.get("/kv/socket-end").text == "4002", 30)
        self.assertEqual(self.node.get("/kv/socket").text, "2")

    # MARK: Other workers

    def test_a_service_s_socket_is_passed_on(self):
        with self.open("/ws/service/ws/echo") as ws:
            for size in (3, 300_000):
                ws.send(TEXT, b"x" * size)
                self.assertEqual(ws.receive(), (TEXT, b"x" * size))
            ws.send(PING, b"p")
            self.assertEqual(ws.receive(), (PONG, b"p"))
            ws.send(TEXT, b"close 4000 far")
            self.assertEqual(ws.close_code(), (4000, "far"))
        with self.assertRaises(Refused) as caught:
            self.open("/ws/service/hello")
        self.assertEqual((caught.exception.status, caught.exception.body), (200, b"hello"))
        with self.open("/ws/service/ws/pair") as ws:
            self.assertEqual(ws.receive(), (TEXT, b"hello"))

    def test_a_worker_stands_between(self):
        with self.open("/ws/relay/ws/echo") as ws:
            for size in (3, 300_000):
                ws.send(TEXT, b"x" * size)
                self.assertEqual(ws.receive(), (TEXT, b"relayed " + b"x" * size))
            ws.send(TEXT, b"close 4000 far")
            self.assertEqual(ws.close_code()[0], 4000)
        with self.open("/ws/relay/ws/pair") as ws:
            self.assertEqual(ws.receive(), (TEXT, b"relayed hello"))
            ws.send(CLOSE, struct.pack(">H", 1000))
            self.assertEqual(ws.close_code()[0], 1000)
        # The far end has said the relay's code back.
        self.wait_for_last("3001  clean closed")

    # MARK: Slow ones

    seconds = 120

    def test_a_client_that_reads_slowly_gets_everything(self):
        with Memory(self, self.node), self.open("/ws/push/400/100000", receive_buffer=4096) as ws:
            for number in range(400):
                opcode, payload = ws.receive()
                self.assertEqual(len(payload), 100_000)
                self.assertEqual(payload.split(b" ")[0], str(number).encode())
            self.assertEqual(ws.close_code()[0], 1000)

    def test_a_client_that_does_not_read_is_cut_off_from_a_greedy_worker(self):
        with Memory(self, self.node), self.open("/ws/push/1000000/10000?greedy", receive_buffer=4096) as ws:
            wait_until(lambda: "closed with 1013" in self.last() or "1013" in self.last(), 60, lambda: self.last())
            with self.assertRaises((ConnectionError, AssertionError)):
                while True:
                    opcode, payload = ws.receive()
                    if opcode == CLOSE:
                        self.assertEqual(payload[:2], struct.pack(">H", 1013))
                        raise ConnectionError("closed")

    def test_a_worker_that_does_not_read_holds_its_client_back(self):
        with Memory(self, self.node), self.open("/ws/deaf/600000") as ws:
            ws.socket.settimeout(2)
            message = RawWebSocket.frame(BINARY, bytes(60_000))
            sent = 0
            with self.assertRaises(TimeoutError):
                while sent < 200 << 20:
                    ws.socket.sendall(message)
                    sent += len(message)
            self.assertLess(sent, 32 << 20)

    def test_a_thousand_at_once(self):
        sockets = [self.open("/ws/echo") for _ in range(1000)]
        try:
            # They take no event's place: other requests go on.
            self.assertEqual(self.node.get("/hello").text, "hello")
            for number, ws in enumerate(sockets):
                ws.send(TEXT, str(number).encode())
            for number, ws in enumerate(sockets):
                self.assertEqual(ws.receive(), (TEXT, str(number).encode()))
        finally:
            for ws in sockets:
                ws.socket.close()


class Limits(unittest.TestCase):
    def test_each_message_may_use_the_cpu_time_of_an_event(self):
        with Node("run", product("HelloWorker"), "--no-log-requests", "--cpu", "500ms") as node:
            with RawWebSocket(node.url + "/ws/burn", protocol=None, timeout=60) as ws:
                for _ in range(10):
                    ws.send(TEXT, b"150")
                    self.assertEqual(ws.receive(), (TEXT, b"150"))
                ws.send(TEXT, b"60000")
                self.assertEqual(ws.close_code()[0], 1011)


SHAPE = """format = 1
tenant = "t"
compatibility_date = "2026-08-01"

[workers.front]
product = "HelloWorker"
routes = ["{domain}/*"]
vars = { GREETING = "one" }
isolates = { min = 1, max = 1, concurrency = 2 }
"""


class Lifetimes(unittest.TestCase):
    def node_of(self, environment):
        project = Project(SHAPE, {"dev": "format = 1\n" + environment}, products=["HelloWorker"])
        self.addCleanup(project.__exit__)
        node = project.dev("--no-log-requests")
        self.addCleanup(node.__exit__)
        return project, node.start()

    def open(self, node, path):
        return RawWebSocket(node.url + path, protocol=None, timeout=60, host="localhost")

    def replace(self, project, node):
        project.edit("wrangler-like.toml", '"one"', '"two"')
        wait_until(lambda: node.get("/variable/GREETING", host="localhost").text == "two", 60)

    seconds = 60

    def test_probe_20_a_plain_socket_gets_1012_after_drain_websockets(self):
        project, node = self.node_of('deploy.drain_websockets = "3s"\n')
        with self.open(node, "/ws/echo") as ws:
            self.replace(project, node)
            ws.send(TEXT, b"still here")
            self.assertEqual(ws.receive(), (TEXT, b"still here"))
            self.assertEqual(ws.close_code()[0], 1012)
            ws.send(CLOSE, struct.pack(">H", 1012))
            self.assertTrue(ws.is_ended())

    def test_a_socket_stays_with_the_worker_that_was_replaced(self):
        project, node = self.node_of("")
        with self.open(node, "/ws/echo") as ws:
            self.replace(project, node)
            for number in range(20):
                ws.send(TEXT, str(number).encode())
                self.assertEqual(ws.receive(), (TEXT, str(number).encode()))

    def test_open_sockets_leave_all_places_to_requests(self):
        project, node = self.node_of("")
        sockets = [self.open(node, "/ws/echo") for _ in range(10)]
        self.addCleanup(lambda: [ws.socket.close() for ws in sockets])
        self.assertEqual(node.get("/hello", host="localhost").text, "hello")

    def test_an_idle_socket_is_closed_when_the_configuration_says_so(self):
        _, node = self.node_of('websocket_idle_timeout = "2s"\n')
        with self.open(node, "/ws/echo") as ws:
            ws.send(TEXT, b"used")
            self.assertEqual(ws.receive(), (TEXT, b"used"))
            self.assertEqual(ws.close_code(), (1001, "no message for 2 seconds"))

    def test_a_node_that_stops_says_1001(self):
        _, node = self.node_of("")
        with self.open(node, "/ws/echo") as ws:
            stopping = threading.Thread(target=node.stop)
            stopping.start()
            self.assertEqual(ws.close_code()[0], 1001)
            ws.send(CLOSE, struct.pack(">H", 1001))
            self.assertTrue(ws.is_ended())
            stopping.join()


if __name__ == "__main__":
    unittest.main()
