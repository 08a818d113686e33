"""RFC 6455 and RFC 7692 by raw frames, through an isolate that echoes. The numbers are those of the Autobahn test suite's
sections, whose topics these cases cover; the cases are our own."""

import os
import random
import struct
import unittest
import zlib

from harness import Node, product
from raw_websocket import BINARY, CLOSE, PING, PONG, TEXT, RawWebSocket

CONTINUATION = 0
frame = RawWebSocket.frame


def mask(payload):
    """One frame's worth of masked bytes, fast for large ones."""
    key = os.urandom(4)
    count = len(payload)
    pad = (key * (count // 4 + 1))[:count]
    return key, (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(count, "big") if count else b""


def fast_frame(opcode, payload, final=True, reserved=0):
    head = bytes([(0x80 if final else 0) | reserved << 4 | opcode])
    count = len(payload)
    if count < 126:
        head += bytes([0x80 | count])
    elif count < 65536:
        head += bytes([0x80 | 126]) + struct.pack(">H", count)
    else:
        head += bytes([0x80 | 127]) + struct.pack(">Q", count)
    key, masked = mask(payload)
    return head + key + masked


def close(code=None, reason=b""):
    return frame(CLOSE, b"" if code is None else struct.pack(">H", code) + reason)


def fragments(opcode, payload, size):
    pieces = [payload[start:start + size] for start in range(0, len(payload), size)] or [b""]
    return [fast_frame(CONTINUATION if index else opcode, piece, final=index == len(pieces) - 1)
            for index, piece in enumerate(pieces)]


class Echo(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node("run", product("HelloWorker"), "--no-log-requests"))

    def open(self, path="/ws/echo", **keywords):
        keywords.setdefault("protocol", None)
        keywords.setdefault("timeout", 60)
        return RawWebSocket(self.node.url + path, **keywords)

    def run_case(self, name, sent, expected, path="/ws/echo", cut=None):
        """`sent`: bytes, whole or in pieces; `cut`: each goes out in pieces of so many bytes. `expected`: frames as (opcode,
        payload), the last of which may be a Close frame by its code, or None for one without."""
        with self.subTest(case=name), self.open(path) as ws:
            for piece in [sent] if isinstance(sent, bytes) else sent:
                for start in range(0, len(piece), cut or len(piece) or 1):
                    ws.socket.sendall(piece[start:start + (cut or len(piece))])
            frames = [wanted for wanted in expected if isinstance(wanted, tuple)]
            heard = [ws.receive() for _ in frames]
            # The node answers pings, the worker messages: each in their order.
            for pongs in (False, True):
                self.assertTrue([one for one in heard if (one[0] == PONG) == pongs]
                                == [one for one in frames if (one[0] == PONG) == pongs],
                                [(opcode, len(payload)) for opcode, payload in heard])
            if len(frames) < len(expected):
                self.assertEqual(ws.close_code()[0], expected[-1])
                self.assertTrue(ws.is_ended())
                return
            ws.send(CLOSE, struct.pack(">H", 1000))
            self.assertEqual(ws.close_code()[0], 1000)
            self.assertTrue(ws.is_ended())

    # 1: framing

    def test_1_framing(self):
        for opcode in (TEXT, BINARY):
            for size in (0, 1, 124, 125, 126, 127, 128, 65535, 65536, 65537):
                payload = b"*" * size if opcode == TEXT else bytes(range(256)) * (size // 256 + 1)
                payload = payload[:size]
                sent = fast_frame(opcode, payload)
                self.run_case(f"1.{opcode}.{size}", sent, [(opcode, payload)])
                if size in (65536, 126, 1):
                    self.run_case(f"1.{opcode}.{size} in pieces", sent, [(opcode, payload)], cut=997 if size > 200 else 1)

    def test_1_a_frame_that_is_split_at_every_byte(self):
        payload = "größer".encode()
        sent = frame(TEXT, payload) + frame(PING, b"p") + frame(TEXT, b"x" * 130)
        for cut in range(1, len(sent)):
            self.run_case(f"1.split.{cut}", [sent[:cut], sent[cut:]], [(TEXT, payload), (PONG, b"p"), (TEXT, b"x" * 130)])

    # 2: pings and pongs

    def test_2_pings(self):
        for name, payload in [("empty", b""), ("text", b"Hello"), ("binary", b"\0\xff\xfe\xfd"), ("125", b"\xfe" * 125)]:
            self.run_case(f"2.{name}", frame(PING, payload), [(PONG, payload)])
        self.run_case("2.5 of 126 bytes", frame(PING, b"\xfe" * 126), [1002])
        self.run_case("2.6 byte by byte", frame(PING, b"\xfe" * 125), [(PONG, b"\xfe" * 125)], cut=1)
        self.run_case("2.7 unasked pong", frame(PONG) + frame(PING, b"a"), [(PONG, b"a")])
        self.run_case("2.8 unasked pong with payload", frame(PONG, b"unasked") + frame(PING, b"a"), [(PONG, b"a")])
        many = [bytes([48 + index]) for index in range(10)]
        self.run_case("2.10", b"".join(frame(PING, p) for p in many), [(PONG, p) for p in many])
        self.run_case("2.11", b"".join(frame(PING, p) for p in many), [(PONG, p) for p in many], cut=1)

    # 3: reserved bits

    def test_3_reserved_bits(self):
        for bits in (1, 2, 3, 4, 5, 6, 7):
            self.run_case(f"3.{bits} text", frame(TEXT, b"Hello", reserved=bits), [1002])
            self.run_case(f"3.{bits} ping", frame(PING, b"Hello", reserved=bits), [1002])
            self.run_case(f"3.{bits} close", frame(CLOSE, b"", reserved=bits), [1002])
        for cut in (None, 1):
            self.run_case("3.2 behind a good one", frame(TEXT, b"one") + frame(TEXT, b"two", reserved=2) + frame(PING),
                          [(TEXT, b"one"), 1002], cut=cut)
        self.run_case("3.4 byte by byte", frame(TEXT, b"Hello", reserved=4), [1002], cut=1)

    # 4: opcodes

    def test_4_opcodes(self):
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
            self.run_case(f"4.{opcode} empty", frame(opcode), [1002])
            self.run_case(f"4.{opcode} with payload", frame(opcode, b"reserved"), [1002])
            self.run_case(f"4.{opcode} behind a text", frame(TEXT, b"x") + frame(opcode) + frame(PING), [(TEXT, b"x"), 1002])
            self.run_case(f"4.{opcode} byte by byte", frame(opcode, b"reserved") + frame(PING), [1002], cut=1)

    # 5: fragments

    def test_5_fragments(self):
        two = frame(TEXT, b"one ", final=False), frame(CONTINUATION, b"two")
        whole = (TEXT, b"one two")
        self.run_case("5.1 fragmented ping", frame(PING, b"a", final=False) + frame(CONTINUATION, b"b"), [1002])
        self.run_case("5.2 fragmented pong", frame(PONG, b"a", final=False) + frame(CONTINUATION, b"b"), [1002])
        self.run_case("5.3", two[0] + two[1], [whole])
        self.run_case("5.4", list(two), [whole])
        self.run_case("5.5", two[0] + two[1], [whole], cut=1)
        for cut in (None, 1):
            self.run_case("5.6 ping between", two[0] + frame(PING, b"p") + two[1], [(PONG, b"p"), whole], cut=cut)
        self.run_case("5.9 nothing to continue", frame(CONTINUATION, b"non-continuation") + frame(TEXT, b"x"), [1002])
        self.run_case("5.10", frame(CONTINUATION, b"x", final=False) + frame(TEXT, b"x"), [1002])
        self.run_case("5.15 behind a whole one", two[0] + two[1] + frame(CONTINUATION, b"x", final=False), [whole, 1002])
        self.run_case("5.18 text within text", two[0] + frame(TEXT, b"two"), [1002])
        five = [frame(TEXT, b"f1", final=False), frame(CONTINUATION, b"f2", final=False), frame(PING, b"p1"),
                frame(CONTINUATION, b"f3", final=False), frame(CONTINUATION, b"f4", final=False), frame(PING, b"p2"),
                frame(CONTINUATION, b"f5")]
        for cut in (None, 1):
            self.run_case("5.19", five, [(PONG, b"p1"), (PONG, b"p2"), (TEXT, b"f1f2f3f4f5")], cut=cut)
        empty = frame(TEXT, b"", final=False), frame(CONTINUATION, b"", final=False), frame(CONTINUATION, b"")
        self.run_case("5.20 empty fragments", b"".join(empty), [(TEXT, b"")])
        self.run_case("5.21 a close between", two[0] + close(1000) + two[1], [1000])
        rest = b"".join(fragments(BINARY, os.urandom(3000), 1))
        self.run_case("5.22 many small ones", rest + frame(PING), [(BINARY, self.joined(rest)), (PONG, b"")])

    @staticmethod
    def joined(frames):
        """The payload of masked frames of at most 125 bytes."""
        whole, offset = b"", 0
        while offset < len(frames):
            count = frames[offset + 1] & 0x7F
            key, payload = frames[offset + 2:offset + 6], frames[offset + 6:offset + 6 + count]
            whole += bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
            offset += 6 + count
        return whole

    # 6: texts

    VALID = ["", "Hello-µ@ßöäüàá-UTF-8!!", "κόσμε", "\x00", "\x7f", "\x80", "߿", "ࠀ", "퟿", "", "�",
             "￿", "𐀀", "􏿿", "𝒳𝓎", "\ufeff"]
    INVALID = [b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", b"\x80", b"\xbf", b"\xc0\xaf",
               b"\xe0\x80\xaf",
               b"\xf0\x80\x80\xaf", b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80", b"\xfe", b"\xff", b"\xc1\xbf",
               b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xed\xa0\x80\xed\xb0\x80",
               b"\xf4\x90\x80\x80", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"a\xc3b"]

    def test_6_valid_texts(self):
        for text in self.VALID:
            payload = text.encode()
            self.run_case(f"6 {text!r}", frame(TEXT, payload), [(TEXT, payload)])
            if payload:
                self.run_case(f"6 {text!r} in fragments", b"".join(fragments(TEXT, payload, 1)), [(TEXT, payload)])

    def test_6_invalid_texts(self):
        for payload in self.INVALID:
            self.run_case(f"6 {payload!r}", frame(TEXT, payload), [1007])
            self.run_case(f"6 {payload!r} in fragments", b"".join(fragments(TEXT, payload, 1)), [1007])
            self.run_case(f"6 {payload!r} in binary", frame(BINARY, payload), [(BINARY, payload)])

    def test_6_4_an_invalid_text_fails_at_once(self):
        """Before the rest of the message, and before the rest of its frame, has come."""
        bad = "κόσμε".encode() + b"\xf4\x90\x80\x80"
        self.run_case("6.4.1", frame(TEXT, bad, final=False), [1007])
        whole = frame(TEXT, bad + b"x" * 100)
        self.run_case("6.4.3", whole[:-90], [1007])

    # 7: the closing handshake

    def test_7_closing(self):
        self.run_case("7.1.1", frame(TEXT, b"hi") + close(1000), [(TEXT, b"hi"), 1000])
        self.run_case("7.1.2 two closes", close(1000) + close(1001), [1000])
        self.run_case("7.1.3 a ping behind", close(1000) + frame(PING), [1000])
        self.run_case("7.1.4 a text behind", close(1000) + frame(TEXT, b"x"), [1000])
        self.run_case("7.3.1 without a code", close(), [None])
        self.run_case("7.3.2 half a code", frame(CLOSE, b"\x03"), [1002])
        self.run_case("7.3.3", close(1000), [1000])
        self.run_case("7.3.4", close(1000, b"Hello"), [1000])
        self.run_case("7.3.5", close(1000, b"*" * 123), [1000])
        self.run_case("7.3.6", frame(CLOSE, struct.pack(">H", 1000) + b"*" * 124), [1002])
        self.run_case("7.5.1", close(1000, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"), [1007])
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999):
            self.run_case(f"7.7 {code}", close(code), [code])
        for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
            self.run_case(f"7.9 {code}", close(code), [1002])

    def test_7_an_unmasked_frame_is_a_mistake(self):
        self.run_case("7.unmasked", frame(TEXT, b"x", masked=False), [1002])

    def test_7_lengths_must_be_the_shortest(self):
        for name, head in [("126", b"\x81\xfe\x00\x05"), ("127", b"\x81\xff" + struct.pack(">Q", 5)),
                           ("64 bits", b"\x81\xff" + struct.pack(">Q", 1 << 63))]:
            self.run_case(f"7.length.{name}", head + b"\0\0\0\0Hello", [1002])

    # 9: limits

    def test_9_large_messages(self):
        generator = random.Random(9)
        for size in (1 << 16, 1 << 18, 1 << 20, 4 << 20):
            payload = generator.randbytes(size)
            self.run_case(f"9.2 {size}", fast_frame(BINARY, payload), [(BINARY, payload)])
        text = ("größer und " * 100_000).encode()
        self.run_case("9.1", fast_frame(TEXT, text), [(TEXT, text)])
        payload = generator.randbytes(1 << 20)
        for size in (64, 4096, 65536):
            self.run_case(f"9.4 in fragments of {size}", b"".join(fragments(BINARY, payload, size)), [(BINARY, payload)])
        self.run_case("9.6 in pieces", fast_frame(BINARY, payload), [(BINARY, payload)], cut=4096)

    def test_9_many_messages(self):
        """What comes is read here while it is sent: an echo has no room for thousands."""
        for opcode, size, count in ((TEXT, 0, 1000), (TEXT, 16, 1000), (BINARY, 1024, 1000)):
            with self.subTest(size=size), self.open() as ws:
                payload = b"x" * size
                for _ in range(count // 100):
                    ws.socket.sendall(fast_frame(opcode, payload) * 100)
                    for _ in range(100):
                        self.assertEqual(ws.receive(), (opcode, payload))

    # 10: how the answer is cut

    def test_10_a_message_comes_back_in_one_frame(self):
        payload = b"x" * 65536
        self.run_case("10.1.1", b"".join(fragments(TEXT, payload, 1300)), [(TEXT, payload)])

    # 32 MiB: spec durable-objects, section 5

    seconds = 240

    def test_probe_22_a_message_above_32_MiB_is_refused(self):
        with self.open("/ws/length") as ws:
            ws.socket.sendall(fast_frame(BINARY, bytes(32 << 20)))
            self.assertEqual(ws.receive(), (TEXT, b"binary 33554432"))
            # By its length alone, before its payload.
            ws.socket.sendall(b"\x82\xff" + struct.pack(">Q", (32 << 20) + 1) + b"\0\0\0\0")
            self.assertEqual(ws.close_code(), (1009, "Message is too large: 33554433 > 33554432"))
            self.assertTrue(ws.is_ended())
        with self.open("/ws/length") as ws:
            ws.socket.sendall(fast_frame(BINARY, bytes(32 << 20), final=False))
            ws.socket.sendall(frame(CONTINUATION, b"x"))
            self.assertEqual(ws.close_code(), (1009, "Message is too large: 33554433 > 33554432"))

    # 12, 13: compression

    OFFERS = {
        "permessage-deflate": "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; client_max_window_bits": None,
        "permessage-deflate; server_no_context_takeover": None,
        "permessage-deflate; client_no_context_takeover": None,
        "permessage-deflate; server_max_window_bits=9":
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9",
        "permessage-deflate; server_max_window_bits=15; client_max_window_bits=15":
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15",
        "permessage-deflate; server_max_window_bits=8, permessage-deflate": None,
        "x-unknown, permessage-deflate": None,
    }
    DEFAULT = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

    @staticmethod
    def deflate(payload, bits=15, flush=zlib.Z_SYNC_FLUSH):
        deflater = zlib.compressobj(6, zlib.DEFLATED, -bits)
        squeezed = deflater.compress(payload) + deflater.flush(flush)
        return squeezed[:-4] if flush == zlib.Z_SYNC_FLUSH else squeezed

    @staticmethod
    def inflate(payload, bits=15):
        return zlib.decompressobj(-bits).decompress(payload + b"\0\0\xff\xff")

    def deflated(self, offer="permessage-deflate", path="/ws/echo"):
        return self.open(path, headers=[f"Sec-WebSocket-Extensions: {offer}"])

    def test_12_compressed_messages(self):
        generator = random.Random(12)
        for size in (0, 16, 64, 256, 1024, 4096, 16384, 65536, 131072, 1 << 20):
            for kind in ("prose", "noise"):
                payload = (b"All work and no play makes a dull page. " * (size // 40 + 1))[:size] \
                    if kind == "prose" else generator.randbytes(size)
                with self.subTest(size=size, kind=kind), self.deflated() as ws:
                    opcode = TEXT if kind == "prose" else BINARY
                    for _ in range(3):
                        ws.socket.sendall(fast_frame(opcode, self.deflate(payload), reserved=4))
                        self.assertEqual(self.receive_any(ws), (opcode, payload))

    def receive_any(self, ws, bits=15):
        """A message that is one frame, compressed or not."""
        first, second = ws._take(2)
        self.assertIn(first & 0xF0, (0x80, 0xC0))
        length = second & 0x7F
        if length == 126:
            length = struct.unpack(">H", ws._take(2))[0]
        elif length == 127:
            length = struct.unpack(">Q", ws._take(8))[0]
        payload = ws._take(length)
        return first & 0x0F, self.inflate(payload, bits) if first & 0x40 else payload

    def test_12_prose_comes_back_compressed(self):
        payload = b"All work and no play makes a dull page. " * 100
        with self.deflated() as ws:
            ws.send(TEXT, payload)  # One that isn't compressed is allowed as well.
            opcode, squeezed = ws.receive(compressed=True)
            self.assertEqual((opcode, self.inflate(squeezed)), (TEXT, payload))
            self.assertLess(len(squeezed), 200)

    def test_12_fragments_of_a_compressed_message(self):
        payload = b"All work and no play makes a dull page. " * 300
        squeezed = self.deflate(payload)
        for size in (1, 7, 30, 1000):
            pieces = [squeezed[start:start + size] for start in range(0, len(squeezed), size)]
            with self.subTest(size=size), self.deflated() as ws:
                for index, piece in enumerate(pieces):
                    ws.socket.sendall(frame(CONTINUATION if index else TEXT, piece, final=index == len(pieces) - 1,
                                            reserved=0 if index else 4))
                    if index == 0 and len(pieces) > 1:
                        ws.send(PING, b"between")
                        self.assertEqual(ws.receive(), (PONG, b"between"))
                self.assertEqual(self.receive_any(ws), (TEXT, payload))

    def test_12_final_blocks_and_stored_blocks(self):
        for payload in (self.deflate(b"Hello", flush=zlib.Z_FINISH) + b"\0", b"\x00\x05\x00\xfa\xffHello\x00"):
            with self.subTest(payload=payload), self.deflated() as ws:
                ws.socket.sendall(frame(TEXT, payload, reserved=4))
                self.assertEqual(self.receive_any(ws), (TEXT, b"Hello"))

    def test_12_mistakes(self):
        cases = [("garbage", frame(TEXT, b"\xff\xff\xff\xff", reserved=4), 1007),
                 ("bit on a continuation",
                  frame(TEXT, b"", final=False, reserved=4) + frame(CONTINUATION, b"x", reserved=4), 1002),
                 ("bit on a ping", frame(PING, b"x", reserved=4), 1002),
                 ("invalid text", frame(TEXT, self.deflate(b"\xff\xfe"), reserved=4), 1007)]
        for name, sent, code in cases:
            with self.subTest(case=name), self.deflated() as ws:
                ws.socket.sendall(sent)
                self.assertEqual(ws.close_code()[0], code)
                self.assertTrue(ws.is_ended())
        self.run_case("not agreed upon", frame(TEXT, self.deflate(b"Hello"), reserved=4), [1002])

    def test_12_a_bomb_is_not_let_off(self):
        bomb = self.deflate(bytes((32 << 20) + 1))
        with self.deflated(path="/ws/length") as ws:
            ws.socket.sendall(fast_frame(BINARY, self.deflate(bytes(32 << 20)), reserved=4))
            self.assertEqual(ws.receive(), (TEXT, b"binary 33554432"))
            ws.socket.sendall(fast_frame(BINARY, bomb, reserved=4))
            self.assertEqual(ws.close_code(), (1009, "Message is too large: 33554433 > 33554432"))

    def test_13_offers(self):
        payload = b"All work and no play makes a dull page. " * 100
        for offer, answer in self.OFFERS.items():
            with self.subTest(offer=offer), self.deflated(offer) as ws:
                answer = answer or self.DEFAULT
                self.assertIn(f"Sec-WebSocket-Extensions: {answer}\r\n", ws.head + "\r\n")
                bits = 9 if "server_max_window_bits=9" in answer else 15
                ws.socket.sendall(fast_frame(TEXT, self.deflate(payload), reserved=4))
                self.assertEqual(self.receive_any(ws, bits), (TEXT, payload))

    def test_13_offers_that_cannot_be_taken(self):
        for offer in ("permessage-deflate; server_max_window_bits=8", "permessage-deflate; server_max_window_bits=16",
                      "permessage-deflate; server_max_window_bits", "permessage-deflate; x=1", "x-unknown",
                      "permessage-deflate; server_no_context_takeover=1",
                      "permessage-deflate; client_max_window_bits=7",
                      "permessage-deflate; server_no_context_takeover; server_no_context_takeover"):
            with self.subTest(offer=offer), self.deflated(offer) as ws:
                self.assertNotIn("Sec-WebSocket-Extensions", ws.head)
                ws.send(TEXT, b"Hello")
                self.assertEqual(ws.receive(), (TEXT, b"Hello"))


if __name__ == "__main__":
    unittest.main()
