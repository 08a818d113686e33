"""HTTP/2 as it must not be spoken, and what it costs the node: nothing but the connection."""

import struct
import unittest

from hyperframe.frame import (
    ContinuationFrame, DataFrame, GoAwayFrame, HeadersFrame, PingFrame, PriorityFrame, RstStreamFrame,
    SettingsFrame, WindowUpdateFrame)

from harness import Node, product, wait_until
from http2_frames import (
    CANCEL, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, PREFACE, PROTOCOL_ERROR, REFUSED_STREAM, Client)
from tls_clients import counter, resident

MIB = 1 << 20
USUAL = [(":method", "GET"), (":scheme", "http"), (":authority", "localhost"), (":path", "/hello")]


class Abuse(unittest.TestCase):
    seconds = 60

    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node("run", product("HelloWorker"), "--no-log-requests", "--reactors", "1"))

    def setUp(self):
        self.assertEqual(self.node.get("/hello").text, "hello")

    def tearDown(self):
        # Others are served as if nothing had been, and what was held is let go.
        with self.connect() as client:
            client.send(client.head(1))
            self.assertEqual(client.answer(1)[1], b"hello")
        self.assertIsNone(self.node.process.poll())

    def connect(self, **keywords):
        return Client(self.node.port, **keywords)

    # MARK: Floods

    def flood(self, *frames, times=6000):
        """Sends frames again and again, expects to be told to calm down."""
        floods = counter(self.node, "edge_http2_floods_total")
        before = resident(self.node)
        with self.connect() as client:
            for index in range(times // 100):
                piece = [frame(client, index * 100 + step) if callable(frame) else frame
                         for step in range(100) for frame in frames]
                if not client.send(*piece):
                    break
            self.assertEqual(client.ended_with(), ENHANCE_YOUR_CALM)
        self.assertGreater(counter(self.node, "edge_http2_floods_total"), floods)
        self.assertLess(resident(self.node) - before, 40 * MIB)

    def test_rapid_reset(self):
        # CVE-2023-44487: requests that are taken back at once.
        self.flood(lambda client, index: client.head(1 + 2 * index, path="/sleep/50"),
                   lambda client, index: RstStreamFrame(1 + 2 * index, error_code=CANCEL))

    def test_requests_that_the_node_is_made_to_reset(self):
        # CVE-2025-8671: a window that overflows is the client's mistake, and the node's reset.
        self.flood(lambda client, index: client.head(1 + 2 * index, path="/sleep/50"),
                   lambda client, index: WindowUpdateFrame(1 + 2 * index, 0x7FFF_FFFF))

    def test_pings(self):
        self.flood(PingFrame(0, b"12345678"))

    def test_settings(self):
        self.flood(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 70_000}))

    def test_priorities(self):
        self.flood(lambda client, index: PriorityFrame(1 + 2 * (index % 50), depends_on=0, stream_weight=index % 256))

    def test_window_updates(self):
        self.flood(WindowUpdateFrame(0, 1))

    def test_unknown_frames_are_ignored(self):
        # RFC 9113 §5.5. They ask for nothing, and nothing of them is kept.
        with self.connect() as client:
            client.send(b"\x00\x00\x01\xee\x00\x00\x00\x00\x00x" * 6000, client.head(1))
            self.assertEqual(client.answer(1)[1], b"hello")

    def test_empty_data(self):
        sent = []

        def start(client, index):
            if not sent:
                sent.append(1)
                return client.head(1, path="/length", method="POST", end=False)
            return DataFrame(1)

        self.flood(start)

    def test_requests_beyond_the_announced_number(self):
        self.flood(lambda client, index: client.head(1 + 2 * index, path="/sleep/2000"))

    def test_empty_continuations(self):
        with self.connect() as client:
            client.send(client.head(1, whole=False), *[ContinuationFrame(1) for _ in range(5000)])
            self.assertIn(client.ended_with(), (ENHANCE_YOUR_CALM, PROTOCOL_ERROR))

    def test_continuations_without_end(self):
        before = resident(self.node)
        with self.connect() as client:
            block = client.encoder.encode([("x-filler", "y" * 12_000)])
            client.send(client.head(1, whole=False))
            for _ in range(500):
                if not client.send(ContinuationFrame(1, block)):
                    break
            self.assertEqual(client.ended_with(), ENHANCE_YOUR_CALM)
        self.assertLess(resident(self.node) - before, 20 * MIB)

    def test_answers_to_pings_that_nobody_reads(self):
        before = resident(self.node)
        with self.connect(receive_buffer=4096, timeout=5) as client:
            piece = b"".join(PingFrame(0, b"12345678").serialize() for _ in range(5000))
            try:
                for _ in range(100):
                    if not client.send(piece):
                        break
            except TimeoutError:
                pass
            self.assertLess(resident(self.node) - before, 20 * MIB)

    # MARK: Heads

    def split_head(self, client, stream, fields):
        block = client.encoder.encode(fields)
        pieces = [block[index:index + 16_000] for index in range(0, len(block), 16_000)]
        head = HeadersFrame(stream, pieces[0], flags=["END_STREAM"])
        frames = [head, *[ContinuationFrame(stream, piece) for piece in pieces[1:]]]
        frames[-1].flags.add("END_HEADERS")
        return frames

    def test_the_limits_of_http_1_1(self):
        with self.connect() as client:
            many = USUAL + [(f"x-{index}", "y") for index in range(257)]
            long = USUAL[:3] + [(":path", "/" + "p" * (16 << 10))]
            fits = USUAL[:3] + [(":path", "/hello?" + "p" * (15 << 10))]
            for stream, fields, status in ((1, many, "431"), (3, long, "414"), (5, fits, "200"), (7, USUAL, "200")):
                client.send(*self.split_head(client, stream, fields))
                self.assertEqual(client.answer(stream)[0][":status"], status, fields[-1])

    def test_a_small_head_that_unpacks_to_a_large_one(self):
        # HPACK bomb: one entry of the table, referred to ten thousand times.
        before = resident(self.node)
        with self.connect() as client:
            first = client.encoder.encode(USUAL + [("x-bomb", "b" * 3900)])
            entry = client.encoder.encode([("x-bomb", "b" * 3900)])
            self.assertLess(len(entry), 3)
            for stream in (1, 3, 5):
                block = (first if stream == 1 else client.encoder.encode(USUAL)) + entry * 10_000
                client.send(HeadersFrame(stream, block[:16_000], flags=["END_STREAM"]),
                            ContinuationFrame(stream, block[16_000:], flags=["END_HEADERS"]))
                self.assertEqual(client.answer(stream)[0][":status"], "431")
        self.assertLess(resident(self.node) - before, 20 * MIB)

    def test_a_head_that_never_ends(self):
        with self.connect(acknowledges=False) as client:
            client.send(client.head(1, whole=False))
            self.assertEqual(client.ended_with(), ENHANCE_YOUR_CALM)

    def test_a_client_that_says_nothing(self):
        with self.connect() as client:
            # A goodbye, and none who waits.
            self.assertEqual(client.ended_with(), 0)

    def test_malformed_requests_are_reset(self):
        post = [(":method", "POST"), (":scheme", "http"), (":authority", "localhost"), (":path", "/length")]
        cases = {
            "no method": USUAL[1:], "no scheme": USUAL[:1] + USUAL[2:], "no path": USUAL[:3],
            "an empty path": USUAL[:3] + [(":path", "")], "no host at all": USUAL[:2] + USUAL[3:],
            "a method twice": USUAL + [(":method", "GET")], "a path twice": USUAL[:1] + [(":path", "/a")] + USUAL[1:],
            "an unknown pseudo field": [(":edge", "1")] + USUAL, "a field of answers": [(":status", "200")] + USUAL,
            "a pseudo field behind others": USUAL[:3] + [("x-a", "1")] + USUAL[3:],
            "upper case": USUAL + [("X-Upper", "1")], "a name with a space": USUAL + [("x a", "1")],
            "an empty name": USUAL + [("", "1")], "a line end in a value": USUAL + [("x-a", "1\r\nx-b: 2")],
            "NUL in a value": USUAL + [("x-a", "1\0")], "connection": USUAL + [("connection", "close")],
            "keep-alive": USUAL + [("keep-alive", "5")], "proxy-connection": USUAL + [("proxy-connection", "close")],
            "transfer-encoding": USUAL + [("transfer-encoding", "chunked")], "upgrade": USUAL + [("upgrade", "websocket")],
            "te": USUAL + [("te", "gzip")], "another host": USUAL + [("host", "elsewhere")],
            "a length without a body": post + [("content-length", "5")],
            "a length twice": post + [("content-length", "0"), ("content-length", "1")],
            "no length": post + [("content-length", "x")], "a negative length": post + [("content-length", "-1")],
        }
        with self.connect() as client:
            for stream, (name, fields) in zip(range(1, 1000, 2), cases.items()):
                with self.subTest(name):
                    # Without the table: what is malformed mustn't spoil the rest of the connection.
                    client.send(HeadersFrame(stream, client.encoder.encode(fields), flags=["END_STREAM", "END_HEADERS"]))
                    self.assertEqual(client.answer(stream), PROTOCOL_ERROR)
            client.send(client.head(999, USUAL + [("te", "trailers"), ("host", "localhost")]))
            self.assertEqual(client.answer(999)[1], b"hello")

    def test_what_http_1_1_refuses_is_refused_with_its_status(self):
        cases = [("a space in the path", USUAL[:3] + [(":path", "/a b")], ("400", PROTOCOL_ERROR)),
                 ("CONNECT", [(":method", "CONNECT"), (":authority", "localhost:443")], ("501", PROTOCOL_ERROR)),
                 ("a user in the host", USUAL[:2] + [(":authority", "me@localhost")] + USUAL[3:], ("400", PROTOCOL_ERROR)),
                 ("a method too long", [(":method", "M" * 100)] + USUAL[1:], ("501",)),
                 ("an unknown expectation", USUAL + [("expect", "wonders")], ("417",))]
        with self.connect() as client:
            for stream, (name, fields, allowed) in zip(range(1, 100, 2), cases):
                with self.subTest(name):
                    client.send(client.head(stream, fields))
                    answer = client.answer(stream)
                    self.assertIn(answer if isinstance(answer, int) else answer[0][":status"], allowed)

    # MARK: Bodies and windows

    def test_bodies_of_another_length_than_announced(self):
        for length, body in (("5", b"hello!"), ("5", b"hell")):
            with self.connect() as client:
                client.send(client.head(1, (("content-length", length),), path="/length", method="POST", end=False),
                            client.data(1, body, end=True))
                self.assertEqual(client.answer(1), PROTOCOL_ERROR)
                client.send(client.head(3))
                self.assertEqual(client.answer(3)[1], b"hello")

    def test_more_than_the_window(self):
        with self.connect() as client:
            client.send(client.head(1, path="/sleep/3000", end=False))
            for _ in range(40):
                if not client.send(client.data(1, b"x" * 16_384)):
                    break
            # The stream's fault or the connection's, as the client sees it first.
            code = None
            for frame in client.frames():
                if isinstance(frame, (RstStreamFrame, GoAwayFrame)):
                    code = frame.error_code
                    break
            self.assertEqual(code, FLOW_CONTROL_ERROR)

    def test_windows_that_overflow(self):
        with self.connect() as client:
            client.send(client.head(1, path="/sleep/3000"), WindowUpdateFrame(1, 0x7FFF_FFFF))
            self.assertEqual(client.answer(1), FLOW_CONTROL_ERROR)
            client.send(client.head(3))
            self.assertEqual(client.answer(3)[1], b"hello")
            client.send(WindowUpdateFrame(0, 0x7FFF_FFFF))
            self.assertEqual(client.ended_with(), FLOW_CONTROL_ERROR)
        with self.connect() as client:
            client.send(b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x04\x80\x00\x00\x00")  # A window of 2^31 in SETTINGS.
            self.assertEqual(client.ended_with(), FLOW_CONTROL_ERROR)

    def test_a_client_that_opens_no_window(self):
        before = resident(self.node)
        with self.connect(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0}) as client:
            streams = range(1, 101, 2)
            client.send(*[client.head(stream, path="/stream/100") for stream in streams])
            client.ping()
            self.assertLess(resident(self.node) - before, 80 * MIB)
            # Given up after the time for bodies without a byte; the connection goes on.
            for answer in client.answers(*streams):
                self.assertIsInstance(answer, int)
            client.send(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 65_535}), client.head(201))
            self.assertEqual(client.answer(201)[1], b"hello")

    def test_a_window_that_opens_byte_by_byte(self):
        with self.connect(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0}) as client:
            client.send(client.head(1))
            body = b""
            for _ in range(5):
                client.send(WindowUpdateFrame(1, 1))
                while not isinstance(frame := client.frame(), DataFrame):
                    self.assertIsNotNone(frame)
                self.assertEqual(len(frame.data), 1)
                body += frame.data
            self.assertEqual(body, b"hello")

    def test_a_window_that_is_taken_back(self):
        with self.connect() as client:
            client.send(client.head(1, path="/stream/4"))
            while not isinstance(client.frame(), DataFrame):
                pass
            # Below zero by now (RFC 9113 §6.9.2).
            client.send(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1}))
            client.ping()
            client.send(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1 << 20}), WindowUpdateFrame(0, 1 << 20))
            received = 0
            for frame in client.frames():
                if isinstance(frame, DataFrame):
                    received += len(frame.data)
                    if "END_STREAM" in frame.flags:
                        break
            self.assertLessEqual(received, 4 << 16)

    def test_streams_beyond_the_announced_number_are_refused(self):
        with self.connect() as client:
            streams = range(1, 2 * 140, 2)
            client.send(*[client.head(stream, path="/sleep/300") for stream in streams])
            answers = client.answers(*streams)
            self.assertEqual([answer for answer in answers if isinstance(answer, int)], [REFUSED_STREAM] * 12)
            self.assertEqual({answer[0][":status"] for answer in answers if not isinstance(answer, int)}, {"200"})

    # MARK: Frames

    def test_frames_that_are_wrong_end_the_connection(self):
        def raw(kind, flags, stream, payload):
            return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload

        cases = {
            "DATA on stream 0": raw(0, 0, 0, b"x"), "HEADERS on stream 0": raw(1, 5, 0, b"\x82"),
            "an even stream": raw(1, 5, 2, b"\x82\x86\x84\x41\x01a"), "PING of 7 bytes": raw(6, 0, 0, b"1234567"),
            "SETTINGS of 5 bytes": raw(4, 0, 0, b"12345"), "SETTINGS on a stream": raw(4, 0, 1, b""),
            "a frame too large": raw(6, 0, 0, b"x" * 20_000), "CONTINUATION of nothing": raw(9, 4, 1, b"\x82"),
            "padding beyond the frame": raw(1, 0xD, 1, b"\xff\x82"), "broken compression": raw(1, 5, 1, b"\xff\xff\xff\xff\xff"),
            "PUSH_PROMISE of a client": raw(5, 4, 1, b"\x00\x00\x00\x02\x82"), "DATA on an idle stream": raw(0, 0, 5, b"x"),
            "RST_STREAM of an idle stream": raw(3, 0, 5, b"\x00\x00\x00\x08"), "GOAWAY on a stream": raw(7, 0, 1, b"\0" * 8),
            "ENABLE_PUSH of 2": raw(4, 0, 0, b"\x00\x02\x00\x00\x00\x02"),
        }
        for name, bytes_ in cases.items():
            with self.subTest(name), self.connect() as client:
                client.send(bytes_)
                self.assertNotIn(client.ended_with(), (0, ENHANCE_YOUR_CALM))
        # Another frame where only the rest of a head may be.
        with self.connect() as client:
            client.send(client.head(1, whole=False), PingFrame(0, b"12345678"))
            self.assertEqual(client.ended_with(), PROTOCOL_ERROR)

    def test_a_broken_preface(self):
        for first in (PREFACE[:18] + b"XX\r\n\r\n", PREFACE[:10], PREFACE + b"\x00\x00\x00\x06\x00\x00\x00\x00\x00"):
            with self.node.connect(timeout=30) as connection:
                connection.sendall(first)
                try:
                    while connection.recv(65536):
                        pass
                except ConnectionResetError:
                    pass

    def test_the_window_is_held_for_bodies_that_nobody_reads(self):
        before = resident(self.node)
        clients = [self.connect() for _ in range(4)]
        try:
            for client in clients:
                for stream in range(1, 41, 2):
                    client.send(client.head(stream, path="/sleep/4000", end=False))
                    for _ in range(3):
                        client.send(client.data(stream, b"x" * 16_384))
                client.ping()
            self.assertLess(resident(self.node) - before, 60 * MIB)
        finally:
            for client in clients:
                client.__exit__()
        wait_until(lambda: counter(self.node, "edge_connections") <= 2, what="the end of the connections")
