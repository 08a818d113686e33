"""WebSockets over HTTP/2 (RFC 8441), with the library `h2` and with frames of our own."""

import os
import socket
import ssl
import struct
import time
import unittest

import h2.connection
import h2.events
import h2.settings
from hyperframe.frame import RstStreamFrame, SettingsFrame, WindowUpdateFrame

from harness import Node, product, wait_until
from http2_frames import CANCEL, PROTOCOL_ERROR, Client
from objects import HOST, Objects
from raw_websocket import BINARY, CLOSE, PING, PONG, TEXT, RawWebSocket

ENABLE_CONNECT_PROTOCOL = 8
PATH = "/ws/echo"


def fields(path=PATH, protocol="websocket", method="CONNECT", authority="localhost", scheme="http", more=()):
    pseudo = [(":method", method), (":protocol", protocol), (":scheme", scheme), (":path", path), (":authority", authority)]
    return [*((name, value) for name, value in pseudo if value is not None), ("sec-websocket-version", "13"), *more]


class Tunnels:
    """A connection of `h2` with any number of WebSockets, each a stream."""

    def __init__(self, port, tls=None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.h2 = h2.connection.H2Connection()
        self.h2.initiate_connection()
        self.heads, self.bytes, self.ended, self.resets = {}, {}, set(), {}
        self.flush()
        while ENABLE_CONNECT_PROTOCOL not in {int(name) for name in self.h2.remote_settings}:
            self.pump()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def flush(self):
        if data := self.h2.data_to_send():
            self.socket.sendall(data)

    def pump(self):
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("closed")
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self.heads[event.stream_id] = {
                    (k.decode() if isinstance(k, bytes) else k): (v.decode() if isinstance(v, bytes) else v)
                    for k, v in event.headers}
            elif isinstance(event, h2.events.DataReceived):
                self.bytes[event.stream_id] = self.bytes.get(event.stream_id, b"") + event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                self.ended.add(event.stream_id)
            elif isinstance(event, h2.events.StreamReset):
                self.resets[event.stream_id] = int(event.error_code)
        self.flush()

    def open(self, **keywords):
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, fields(**keywords))
        self.flush()
        while stream not in self.heads:
            self.pump()
        return stream

    def send(self, stream, data):
        while data:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(data))
            if room == 0:
                self.pump()
                continue
            self.h2.send_data(stream, data[:room])
            data = data[room:]
            self.flush()

    def take(self, stream, count):
        while len(self.bytes.get(stream, b"")) < count:
            self.pump()
        taken, self.bytes[stream] = self.bytes[stream][:count], self.bytes[stream][count:]
        return taken

    def receive(self, stream):
        """A message, of one frame or several."""
        first, payload = self.receive_frame(stream)
        opcode = first & 15
        while not first & 0x80:
            first, piece = self.receive_frame(stream)
            payload += piece
        return opcode, payload

    def receive_frame(self, stream):
        first, second = self.take(stream, 2)
        length = second & 0x7F
        if length > 125:
            length = struct.unpack(">H" if length == 126 else ">Q", self.take(stream, 2 if length == 126 else 8))[0]
        return first, self.take(stream, length)

    def end(self, stream):
        self.h2.end_stream(stream)
        self.flush()
        while stream not in self.ended and stream not in self.resets:
            self.pump()


class WebSockets(unittest.TestCase):
    seconds = 40

    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node("run", product("HelloWorker"), "--no-log-requests", "--isolates", "1"))

    def test_messages_come_back(self):
        with Tunnels(self.node.port) as tunnels:
            stream = tunnels.open()
            head = tunnels.heads[stream]
            self.assertEqual(head[":status"], "200")
            for name in ("sec-websocket-accept", "upgrade", "connection"):
                self.assertNotIn(name, head)
            for size in (0, 5, 200, 70_000, 1 << 20):
                tunnels.send(stream, RawWebSocket.frame(BINARY, b"\x05" * size))
                self.assertTrue(tunnels.receive(stream) == (BINARY, b"\x05" * size))
            tunnels.send(stream, RawWebSocket.frame(PING, b"there?"))
            self.assertEqual(tunnels.receive(stream), (PONG, b"there?"))
            tunnels.send(stream, RawWebSocket.frame(CLOSE, struct.pack(">H", 4001)))
            self.assertEqual(tunnels.receive(stream), (CLOSE, struct.pack(">H", 4001)))
            tunnels.end(stream)
            self.assertIn(stream, tunnels.ended)
            self.assertNotIn(stream, tunnels.resets)

    def test_many_on_one_connection_beside_requests(self):
        with Tunnels(self.node.port) as tunnels:
            streams = [tunnels.open() for _ in range(50)]
            request = tunnels.h2.get_next_available_stream_id()
            tunnels.h2.send_headers(
                request, [(":method", "GET"), (":scheme", "http"), (":path", "/hello"), (":authority", "localhost")],
                end_stream=True)
            for stream in streams:
                tunnels.send(stream, RawWebSocket.frame(TEXT, str(stream).encode()))
            for stream in streams:
                self.assertEqual(tunnels.receive(stream), (TEXT, str(stream).encode()))
            while request not in tunnels.ended:
                tunnels.pump()
            self.assertEqual(tunnels.bytes[request], b"hello")

    def test_what_the_handshake_agrees_on(self):
        with Tunnels(self.node.port) as tunnels:
            stream = tunnels.open(
                path="/ws/protocol?protocol=chat",
                more=[("sec-websocket-protocol", "other, chat"), ("sec-websocket-extensions", "permessage-deflate"),
                      ("sec-websocket-key", "nonsense")])
            head = tunnels.heads[stream]
            self.assertEqual((head[":status"], head["sec-websocket-protocol"]), ("200", "chat"))
            self.assertIn("permessage-deflate", head["sec-websocket-extensions"])
            # RFC 7692, section 7.2.3.1.
            tunnels.send(stream, RawWebSocket.frame(TEXT, bytes([0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]), reserved=4))
            self.assertEqual(tunnels.receive(stream), (TEXT, b"Hello"))

    def test_answers_that_are_none(self):
        with Tunnels(self.node.port) as tunnels:
            for keywords, status in (
                    ({"path": "/hello"}, "200"), ({"path": "/nowhere"}, "404"), ({"protocol": "connect-udp"}, "501"),
                    ({"protocol": "WebSocket"}, "501"), ({"more": [("sec-websocket-version", "12")]}, "426")):
                with self.subTest(**keywords):
                    stream = tunnels.open(**keywords)
                    self.assertEqual(tunnels.heads[stream][":status"], status)
                    self.assertNotIn("sec-websocket-extensions", tunnels.heads[stream])
                    while stream not in tunnels.ended and stream not in tunnels.resets:
                        tunnels.pump()
            # A plain request for a WebSocket is none.
            with Client(self.node.port) as client:
                client.send(client.head(1, path=PATH))
                self.assertEqual(client.answer(1)[0][":status"], "500")

    def test_through_tls(self):
        context = ssl._create_unverified_context()
        context.set_alpn_protocols(["h2"])
        with Node("run", product("HelloWorker"), "--https", "--no-log-requests") as node:
            with Tunnels(node.port, tls=context) as tunnels:
                stream = tunnels.open(scheme="https")
                message = os.urandom(300_000)
                tunnels.send(stream, RawWebSocket.frame(BINARY, message))
                self.assertTrue(tunnels.receive(stream) == (BINARY, message))

    # MARK: Flow control

    def test_a_client_that_gives_no_window_gets_no_more(self):
        with Client(self.node.port) as client:
            client.send(client.head(1, fields(path="/ws/push/100000/1000"), end=False))
            received = 0
            client.socket.settimeout(2)
            try:
                while (frame := client.frame()) is not None:
                    received += len(getattr(frame, "data", b"")) if frame.type == 0 else 0
            except TimeoutError:
                pass
            self.assertEqual(received, 65535)
            # The rest waits, and comes when there is room.
            client.send(WindowUpdateFrame(0, window_increment=100_000), WindowUpdateFrame(1, window_increment=100_000))
            try:
                while (frame := client.frame()) is not None:
                    received += len(frame.data) if frame.type == 0 else 0
            except TimeoutError:
                pass
            self.assertEqual(received, 165_535)

    def test_a_worker_that_does_not_read_holds_its_client_back(self):
        with Tunnels(self.node.port) as tunnels:
            stream = tunnels.open(path="/ws/deaf/600000")
            tunnels.socket.settimeout(2)
            sent = 0
            with self.assertRaises(TimeoutError):
                while sent < 64 << 20:
                    tunnels.send(stream, RawWebSocket.frame(BINARY, bytes(60_000)))
                    sent += 60_000
            self.assertLess(sent, 8 << 20)
            # The others of the connection go on: its window is not that stream's.
            tunnels.socket.settimeout(60)
            other = tunnels.open()
            tunnels.send(other, RawWebSocket.frame(TEXT, b"on"))
            self.assertEqual(tunnels.receive(other), (TEXT, b"on"))

    # MARK: Abuse

    def test_the_setting_is_announced_first(self):
        with Client(self.node.port) as client:
            frame = client.frame()
            self.assertIsInstance(frame, SettingsFrame)
            self.assertEqual(frame.settings.get(ENABLE_CONNECT_PROTOCOL), 1)

    def test_requests_that_are_malformed(self):
        cases = {
            "no path": fields(path=None), "no scheme": fields(scheme=None), "no authority": fields(authority=None),
            "another method": fields(method="GET"), "an empty protocol": fields(protocol=""),
            "twice": [*fields()[:2], (":protocol", "websocket"), *fields()[2:]],
            "behind fields": [(":method", "CONNECT"), (":scheme", "http"), (":path", PATH), (":authority", "localhost"),
                              ("a", "b"), (":protocol", "websocket")],
            "with Upgrade": fields(more=[("upgrade", "websocket")]),
            "with Connection": fields(more=[("connection", "upgrade")]),
        }
        for name, head in cases.items():
            with self.subTest(name), Client(self.node.port) as client:
                client.send(client.head(1, head, end=False), client.data(1, b"x" * 100))
                client.send(client.head(3))
                refused, other = client.answers(1, 3)
                self.assertEqual(other[1], b"hello")
                self.assertTrue(
                    refused in (PROTOCOL_ERROR, CANCEL) or refused[0][":status"] in ("400", "501"), refused)

    def test_a_head_that_ends_the_stream(self):
        with Client(self.node.port) as client:
            client.send(client.head(1, fields(), end=True))
            self.assertEqual(client.answer(1)[0][":status"], "501")

    def test_frames_before_the_answer_are_kept(self):
        with Client(self.node.port) as client:
            client.send(
                client.head(1, fields(path="/ws/late/300"), end=False),
                *(client.data(1, RawWebSocket.frame(TEXT, b"%d" % number)) for number in range(10)))
            received = b""
            while len(received) < 30:
                frame = client.frame()
                received += frame.data if frame.type == 0 else b""
            self.assertEqual(received, b"".join(b"\x81\x01%d" % number for number in range(10)))

    def test_a_flood_beyond_the_window_ends_the_connection(self):
        with Client(self.node.port) as client:
            client.send(client.head(1, fields(path="/ws/deaf/600000"), end=False))
            message = RawWebSocket.frame(BINARY, bytes(16_000))
            for _ in range(400):
                if not client.send(client.data(1, message)):
                    break
            reset = None
            for frame in client.frames():
                if isinstance(frame, RstStreamFrame) and frame.stream_id == 1:
                    reset = frame.error_code
                    break
            self.assertTrue(client.ended or reset == 3, (client.ended, reset))

    def test_a_reset_in_the_middle_is_a_lost_connection(self):
        with Client(self.node.port) as client:
            client.send(client.head(1, fields(), end=False))
            while 1 not in client.heads:
                client.frame()
            client.send(client.data(1, RawWebSocket.frame(TEXT, b"whole") + RawWebSocket.frame(TEXT, b"half")[:7]))
            while client.frame().type != 0:
                pass
            client.send(RstStreamFrame(1, error_code=CANCEL))
            wait_until(
                lambda: self.node.get("/ws/last").text.startswith("1006 WebSocket disconnected"), what="1006 at the worker")
            # The connection lives.
            client.send(client.head(3))
            self.assertEqual(client.answer(3)[1], b"hello")

    def test_a_mistake_within_is_answered_within(self):
        with Tunnels(self.node.port) as tunnels:
            stream = tunnels.open()
            tunnels.send(stream, RawWebSocket.frame(TEXT, b"x", masked=False))
            self.assertEqual(tunnels.receive(stream)[1][:2], struct.pack(">H", 1002))
            tunnels.end(stream)
            other = tunnels.open()
            tunnels.send(other, RawWebSocket.frame(TEXT, b"on"))
            self.assertEqual(tunnels.receive(other), (TEXT, b"on"))


class Hibernating(unittest.TestCase):
    """A durable object's sockets, which belong to the node."""

    def test_messages_wake_the_object_and_large_ones_come_back(self):
        with Objects(hibernate="200ms", evict="400ms") as objects, Tunnels(objects.node.port) as tunnels:
            stream = tunnels.open(path="/name/PROBES/http2/socket?attachment=mine", authority=HOST["Host"])
            self.assertEqual(tunnels.heads[stream][":status"], "200")

            def ask(text):
                tunnels.send(stream, RawWebSocket.frame(TEXT, text.encode()))
                return tunnels.receive(stream)[1].decode()
            life = int(ask("constructed"))
            wait_until(lambda: int(ask("constructed")) > life or time.sleep(1), 60, "another life of the object")
            self.assertEqual(ask("attachment"), "mine")
            message = os.urandom(300_000)
            for _ in range(5):
                tunnels.send(stream, RawWebSocket.frame(BINARY, message))
            for _ in range(5):
                self.assertTrue(tunnels.receive(stream) == (BINARY, message))
            tunnels.send(stream, RawWebSocket.frame(CLOSE, struct.pack(">H", 1000)))
            self.assertEqual(tunnels.receive(stream)[0], CLOSE)
            tunnels.end(stream)


class Stopping(unittest.TestCase):
    def test_a_node_that_stops_says_1001(self):
        node = Node("run", product("HelloWorker"), "--no-log-requests").start()
        try:
            with Client(node.port) as client:
                client.send(client.head(1, fields(), end=False))
                while 1 not in client.heads:
                    client.frame()
                node.process.terminate()
                said = b"".join(frame.data for frame in client.frames() if frame.type == 0)
                self.assertEqual(said[2:4], struct.pack(">H", 1001))
        finally:
            node.stop()


if __name__ == "__main__":
    unittest.main()
