"""TLS clients that take their time, or keep the node busy with new keys: nobody else may notice."""

import ctypes
import select
import socket
import struct
import threading
import unittest

from harness import Node, product
from tls_clients import connect, context, read_to_end, resident

MIB = 1 << 20
NOT_REQUESTED, REQUESTED = 0, 1


class LibraryClient:
    """A client by libssl itself: Python's ssl can't ask for new keys."""

    def __init__(self, port):
        library = ctypes.CDLL("libssl.so.3")
        for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
            getattr(library, name).restype = ctypes.c_void_p
        self.library = library
        self.context = ctypes.c_void_p(library.SSL_CTX_new(ctypes.c_void_p(library.TLS_client_method())))
        self.session = ctypes.c_void_p(library.SSL_new(self.context))
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.settimeout(None)  # The library wants a blocking one.
        library.SSL_set_fd(self.session, self.socket.fileno())
        if library.SSL_connect(self.session) != 1:
            raise AssertionError("no handshake")

    def renew(self, kind):
        """One KeyUpdate; false when the node doesn't take it any more."""
        _, writable, _ = select.select([], [self.socket], [], 2)
        return bool(writable) and self.library.SSL_key_update(self.session, kind) == 1 and \
            self.library.SSL_do_handshake(self.session) == 1

    def ask(self):
        request = b"GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        if self.library.SSL_write(self.session, request, len(request)) != len(request):
            return None
        room = ctypes.create_string_buffer(65536)
        received = b""
        while (count := self.library.SSL_read(self.session, room, len(room))) > 0:
            received += room.raw[:count]
        return received

    def close(self):
        self.library.SSL_free(self.session)
        self.library.SSL_CTX_free(self.context)
        self.socket.close()


class NewKeys(unittest.TestCase):
    def setUp(self):
        self.node = self.enterContext(Node("run", product("HelloWorker"), "--https", "--no-log-requests", "--reactors", "1"))

    def flood(self, kind, count):
        client = LibraryClient(self.node.port)
        self.addCleanup(client.close)
        before = resident(self.node)
        for number in range(count):
            if not client.renew(kind):
                break
            if number % 1000 == 0:
                # The only reactor has time for others.
                self.assertEqual(self.node.get("/hello").text, "hello")
        self.assertEqual(self.node.get("/hello").text, "hello")
        self.assertLess(resident(self.node) - before, 8 * MIB)
        return client

    def test_a_flood_of_new_keys(self):
        client = self.flood(NOT_REQUESTED, 20_000)
        # It is legal: who does it and then asks for something gets it.
        self.assertTrue(client.ask().endswith(b"hello"))

    def test_a_flood_of_new_keys_whose_answers_nobody_reads(self):
        self.flood(REQUESTED, 20_000)


class SlowUploads(unittest.TestCase):
    """A byte a second keeps no place of a worker, whatever the version of HTTP."""

    def trickle(self, connection, piece, results, name):
        try:
            for _ in range(90):
                connection.sendall(piece)
                readable, _, _ = select.select([connection], [], [], 1)
                if readable:
                    break
            results[name] = read_to_end(connection)
        except OSError as error:
            results[name] = error

    def test_bodies_that_trickle_are_given_up(self):
        with Node("run", product("HelloWorker"), "--https", "--no-log-requests") as node:
            results, threads = {}, []
            for name, length in (("small", 1000), ("large", 1 << 20)):
                connection = connect(node.port)
                connection.sendall(f"POST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode())
                threads.append(threading.Thread(target=self.trickle, args=(connection, b"x", results, name)))
            # The same as an HTTP/2 stream: POST /length with content-length 1000, each field as a literal.
            connection = connect(node.port, made=context(alpn=["h2"]))
            head = b"\x83\x87\x01\x09localhost\x04\x07/length\x0f\x0d\x041000"
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
                               + struct.pack(">I", len(head))[1:] + b"\1\4\0\0\0\1" + head)
            greeting = b""
            while len(greeting) < 9 + 24:
                greeting += connection.recv(65536)
            threads.append(threading.Thread(target=self.stream, args=(connection, results)))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(120)
            for name in ("small", "large"):
                self.assertTrue(results[name].startswith(b"HTTP/1.1 408 "), results[name])
            self.assertTrue(results["stream"])
            self.assertEqual(node.get("/hello").text, "hello")

    def stream(self, connection, results):
        """Trickles DATA frames of one byte until a HEADERS frame comes."""
        received = b""
        for _ in range(90):
            connection.sendall(b"\0\0\1\0\0\0\0\0\1x")
            readable, _, _ = select.select([connection], [], [], 1)
            if readable:
                received += connection.recv(65536)
            while len(received) >= 9:
                length = int.from_bytes(received[:3], "big")
                if received[3] == 1:
                    results["stream"] = True
                    return
                if len(received) < 9 + length:
                    break
                received = received[9 + length:]
        results["stream"] = False


if __name__ == "__main__":
    unittest.main()
