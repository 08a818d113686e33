"""HTTP/2 frame by frame, as it is meant: streams side by side, windows that follow what is taken, an end that loses nothing."""

import os
import signal
import socket
import struct
import unittest

from hyperframe.frame import (
    DataFrame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame)

from harness import Node, product, wait_until
from http2_frames import CANCEL, INTERNAL_ERROR, Client
from tls_clients import counter, resident

MIB = 1 << 20


class Streams(unittest.TestCase):
    seconds = 22

    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node("run", product("HelloWorker"), "--no-log-requests", "--reactors", "1"))

    def connect(self, **keywords):
        return Client(self.node.port, **keywords)

    def post(self, client, stream, path, *fields):
        return client.head(stream, fields, path=path, method="POST", end=False)

    def test_a_quick_answer_overtakes_a_slow_one(self):
        with self.connect() as client:
            client.send(client.head(1, path="/sleep/500"), client.head(3))
            order = []
            while len(order) < 2:
                frame = client.frame()
                if "END_STREAM" in frame.flags:
                    order.append(frame.stream_id)
            self.assertEqual(order, [3, 1])

    def test_large_answers_come_side_by_side(self):
        with self.connect(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1 << 20}) as client:
            streams = (1, 3, 5)
            client.send(WindowUpdateFrame(0, 1 << 24),
                        *[client.head(stream, (("priority", "u=3, i"),), path="/stream/40") for stream in streams])
            answers = client.answers(*streams)
            self.assertEqual({len(body) for _, body in answers} - {40 << 16}, set())

    def test_settings_that_come_late_and_a_preface_in_single_bytes(self):
        with socket.create_connection(("127.0.0.1", self.node.port), timeout=30) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            class Slowly:
                """Sends byte by byte."""
                def sendall(self, data):
                    for byte in data:
                        connection.sendall(bytes([byte]))

                recv = staticmethod(connection.recv)
                close = staticmethod(connection.close)

            client = Client(self.node.port, connection=Slowly())
            client.send(client.head(1))
            self.assertEqual(client.answer(1)[1], b"hello")

    def test_cookies_in_pieces_are_one(self):
        with self.connect() as client:
            client.send(client.head(1, (("cookie", "a=1"), ("x-twice", "1"), ("cookie", "b=2"), ("x-twice", "2")), path="/headers"))
            lines = client.answer(1)[1].decode().splitlines()
            self.assertIn("cookie: a=1; b=2", lines)
            self.assertIn("x-twice: 1, 2", lines)

    def test_a_host_instead_of_an_authority(self):
        with self.connect() as client:
            client.send(client.head(1, [(":method", "GET"), (":scheme", "http"), (":path", "/nowhere"), ("host", "a.localhost")]))
            self.assertEqual(client.answer(1)[1], b"GET http://a.localhost/nowhere")

    def test_continue_is_asked_for_before_the_body(self):
        with self.connect() as client:
            client.send(self.post(client, 1, "/length", ("expect", "100-continue"), ("content-length", "5")))
            while not hasattr(frame := client.frame(), "fields"):
                pass
            self.assertEqual((dict(frame.fields), "END_STREAM" in frame.flags), ({":status": "100"}, False))
            client.send(client.data(1, b"hello", end=True))
            self.assertEqual(client.answer(1)[1], b"5")

    def test_trailers_end_a_body(self):
        with self.connect() as client:
            client.send(self.post(client, 1, "/length"), client.data(1, b"hello"),
                        HeadersFrame(1, client.encoder.encode([("x-checksum", "1")]), flags=["END_HEADERS", "END_STREAM"]))
            self.assertEqual(client.answer(1)[1], b"5")
            # Pseudo fields have no place there.
            client.send(self.post(client, 3, "/length"), client.data(3, b"hello"),
                        HeadersFrame(3, client.encoder.encode([(":path", "/")]), flags=["END_HEADERS", "END_STREAM"]))
            self.assertEqual(client.answer(3), 1)

    def test_padding_counts_against_the_windows_and_is_given_back(self):
        with self.connect() as client:
            client.send(self.post(client, 1, "/length"))
            total = 0
            for _ in range(2000):
                frame = client.data(1, b"x")
                frame.flags.add("PADDED")
                frame.pad_length = 255
                client.send(frame)
                total += 1
            client.send(client.data(1, end=True))
            self.assertEqual(client.answer(1)[1], str(total).encode())

    def test_a_body_flows_as_it_is_taken(self):
        # The worker sleeps and reads nothing: the window stays what it was.
        with self.connect() as client:
            client.ping()  # From here on, the windows are those that the node has announced.
            client.send(client.head(1, (("content-length", str(4 * MIB)),), path="/sleep/700", end=False))
            sent = 0
            while sent < 240 << 10:
                client.send(client.data(1, b"x" * 16_384))
                sent += 16_384
            client.ping()
            given = 0
            while not hasattr(frame := client.frame(), "fields"):
                if isinstance(frame, WindowUpdateFrame) and frame.stream_id == 1:
                    given += frame.window_increment
            self.assertEqual(given, 0)
            # Nor does it hold up the others.
            client.send(self.post(client, 3, "/length"), client.data(3, b"hello", end=True))
            self.assertEqual(client.answer(3)[1], b"5")

    def test_a_large_upload_in_one_stream(self):
        with self.connect() as client:
            body = os.urandom(16_384)
            client.ping()
            client.send(self.post(client, 1, "/length"))
            window, whole, left = 256 << 10, 1 << 20, 8 * MIB
            while left:
                while window >= len(body) and whole >= len(body) and left:
                    client.send(client.data(1, body, end=left == len(body)))
                    window, whole, left = window - len(body), whole - len(body), left - len(body)
                if left:
                    frame = client.frame()
                    if isinstance(frame, WindowUpdateFrame):
                        if frame.stream_id:
                            window += frame.window_increment
                        else:
                            whole += frame.window_increment
            self.assertEqual(client.answer(1)[1], str(8 * MIB).encode())

    def test_a_client_that_takes_its_request_back(self):
        aborts = counter(self.node, "edge_client_aborts_total")
        with self.connect() as client:
            client.send(client.head(1, path="/sleep/60000"), client.head(3, path="/stream/10000"))
            client.ping()
            client.send(RstStreamFrame(1, error_code=CANCEL), RstStreamFrame(3, error_code=CANCEL), WindowUpdateFrame(0, 65_535),
                        client.head(5))
            self.assertEqual(client.answer(5)[1], b"hello")
        wait_until(lambda: counter(self.node, "edge_client_aborts_total") == aborts + 2, what="the aborts")

    def test_an_answer_that_breaks_off_is_reset(self):
        with Node("run", product("HelloWorker"), "--no-log-requests") as node, Client(node.port) as client:
            client.send(client.head(1, path="/stream/20000"))
            while not isinstance(client.frame(), DataFrame):
                pass
            for pid in node.isolate_pids():
                os.kill(pid, signal.SIGKILL)
            client.send(WindowUpdateFrame(0, 1 << 24), WindowUpdateFrame(1, 1 << 24))
            code = next(frame.error_code for frame in client.frames() if isinstance(frame, RstStreamFrame))
            self.assertEqual(code, INTERNAL_ERROR)
            # The connection goes on, with another isolate.
            client.send(client.head(3))
            self.assertEqual(client.answer(3)[1], b"hello")

    def test_an_answer_before_the_end_of_the_request(self):
        with self.connect() as client:
            client.send(self.post(client, 1, "/hello", ("content-length", str(10 * MIB))), client.data(1, b"x" * 16_384))
            head, body = client.answer(1)
            self.assertEqual((head[":status"], body), ("200", b"hello"))
            # What still comes is dropped for a moment; then the node says that it wants no more.
            client.send(client.data(1, b"x" * 16_384))
            frame = next(frame for frame in client.frames() if isinstance(frame, RstStreamFrame))
            self.assertEqual((frame.stream_id, frame.error_code), (1, 0))
            client.send(client.head(3))
            self.assertEqual(client.answer(3)[1], b"hello")

    def test_many_requests_on_one_connection(self):
        before = resident(self.node)
        with self.connect() as client:
            for round in range(300):
                streams = range(1 + round * 64, 1 + round * 64 + 64, 2)
                client.send(*[client.head(stream, (("x-number", f"{stream}"),)) for stream in streams])
                self.assertEqual({body for _, body in client.answers(*streams)}, {b"hello"})
        self.assertLess(resident(self.node) - before, 16 * MIB)

    def test_clients_that_go_in_the_middle(self):
        before = counter(self.node, "edge_connections")
        for index in range(40):
            client = self.connect()
            client.send(client.head(1, path="/stream/2000"), client.head(3, path="/sleep/1000"), self.post(client, 5, "/length"),
                        client.data(5, b"x" * 1000), client.head(7, whole=False))
            if index % 2:
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.__exit__()
        wait_until(lambda: counter(self.node, "edge_connections") <= before, what="the end of the connections")
        with self.connect() as client:
            client.send(client.head(1))
            self.assertEqual(client.answer(1)[1], b"hello")


class End(unittest.TestCase):
    def test_the_node_says_goodbye_twice(self):
        with Node("run", product("HelloWorker"), "--no-log-requests") as node, Client(node.port) as client:
            client.send(client.head(1, path="/sleep/2000"))
            client.ping()
            node.process.send_signal(signal.SIGTERM)
            told = {}
            while {GoAwayFrame, PingFrame} - told.keys():
                frame = client.frame()
                told[type(frame)] = frame
            first, ping = told[GoAwayFrame], told[PingFrame]
            self.assertEqual((first.last_stream_id, first.error_code), (0x7FFF_FFFF, 0))
            # Sent before the client has answered the ping that came with it: still served.
            client.send(client.head(3))
            client.send(PingFrame(0, ping.opaque_data, flags=["ACK"]), client.head(5))
            heads, second = {}, None
            for frame in client.frames():
                if hasattr(frame, "fields"):
                    heads[frame.stream_id] = dict(frame.fields)[":status"]
                if isinstance(frame, GoAwayFrame):
                    second = frame
            self.assertEqual(second.error_code, 0)
            self.assertEqual(second.last_stream_id, max(heads))
            self.assertEqual({heads[stream] for stream in (1, 3)}, {"200"})
            # Of what came behind, the client knows that it wasn't taken.
            self.assertTrue(5 in heads or second.last_stream_id < 5)
            self.assertEqual(node.process.wait(40), 0)


if __name__ == "__main__":
    unittest.main()
