"""TLS on the node's listeners, spoken by clients that aren't ours: Python's ssl, curl, openssl s_client."""

import hashlib
import os
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
import unittest

from harness import Node, product, wait_until
from tls_clients import connect, context, counter, exchange, read_to_end, resident


class Protocol(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = Node("run", product("HelloWorker"), "--https", "--no-log-requests", "--reactors", "2", "--body", "400MB").start()

    @classmethod
    def tearDownClass(cls):
        cls.node.__exit__()

    def test_the_worker_sees_https(self):
        port = self.node.port
        with connect(port) as connection:
            _, body = exchange(connection, "/headers")
            self.assertIn(b"x-forwarded-proto: https\n", body)
            self.assertIn(b'cf-visitor: {"scheme":"https"}\n', body)
            # Whatever the client says.
            _, body = exchange(connection, "/headers", extra="X-Forwarded-Proto: http\r\n")
            self.assertIn(b"x-forwarded-proto: https\n", body)
            _, body = exchange(connection, "/nowhere", host=f"localhost:{port}")
            self.assertEqual(body, f"GET https://localhost:{port}/nowhere".encode())
            # The default port of https isn't written, that of http is; and URLs that have to be rewritten are https, too.
            self.assertEqual(exchange(connection, "/nowhere", host="localhost:443")[1], b"GET https://localhost/nowhere")
            self.assertEqual(exchange(connection, "/nowhere", host="localhost:80")[1], b"GET https://localhost:80/nowhere")
            self.assertEqual(exchange(connection, "/a/../no", host="LOCALHOST")[1], b"GET https://localhost/no")

    def test_versions_1_2_and_1_3(self):
        for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
            with connect(self.node.port, made=context(version)) as connection:
                self.assertEqual(connection.version(), name)
                for _ in range(3):
                    self.assertEqual(exchange(connection)[1], b"hello")
        old = context(ssl.TLSVersion.TLSv1_1)
        old.set_ciphers("DEFAULT@SECLEVEL=0")
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            connect(self.node.port, made=old)
        # Without forward secrecy, or with CBC: no.
        for cipher in ("AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256"):
            weak = context(ssl.TLSVersion.TLSv1_2)
            weak.set_ciphers(cipher)
            with self.assertRaises((ssl.SSLError, ConnectionError)):
                connect(self.node.port, made=weak)

    def test_alpn(self):
        for offered, chosen in ((None, None), (["http/1.1"], "http/1.1"), (["http/1.1", "http/1.0"], "http/1.1"),
                                (["http/1.0"], "http/1.0"), (["http/1.0", "http/1.1"], "http/1.1")):
            with connect(self.node.port, made=context(alpn=offered)) as connection:
                self.assertEqual(connection.selected_alpn_protocol(), chosen)
                self.assertEqual(exchange(connection)[1], b"hello")
        for offered in (["h2"], ["h2", "http/1.1"], ["http/1.1", "h2"]):
            with connect(self.node.port, made=context(alpn=offered)) as connection:
                self.assertEqual(connection.selected_alpn_protocol(), "h2")
        with self.assertRaisesRegex(ssl.SSLError, "(?i)no.application.protocol"):
            connect(self.node.port, made=context(alpn=["h3"]))

    def test_sessions_are_resumed_on_every_reactor(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            made = context(version)
            with connect(self.node.port, made=made) as connection:
                self.assertFalse(connection.session_reused)
                exchange(connection)  # In 1.3, tickets come behind the handshake.
                session = connection.session
            before = counter(self.node, "edge_tls_handshakes_total")
            for _ in range(12):
                with connect(self.node.port, made=made, session=session) as connection:
                    self.assertTrue(connection.session_reused, version)
                    self.assertEqual(exchange(connection)[1], b"hello")
            self.assertEqual(counter(self.node, "edge_tls_handshakes_total"), before + 12)

    def test_a_ticket_of_somebody_else_is_no_ticket(self):
        made = context(ssl.TLSVersion.TLSv1_3)
        with Node("run", product("HelloWorker"), "--https") as other:
            with connect(other.port, made=made) as connection:
                exchange(connection)
                session = connection.session
        with connect(self.node.port, made=made, session=session) as connection:
            self.assertFalse(connection.session_reused)
            self.assertEqual(exchange(connection)[1], b"hello")

    def test_plain_http_to_the_tls_port(self):
        for request in (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
                        b"G"):
            answer = self.node.raw(request)
            self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), answer)
            self.assertIn(b"the plain HTTP request was sent to the HTTPS port", answer)
            self.assertIn(b"Connection: close", answer)

    def test_garbage_and_silence(self):
        failed = counter(self.node, "edge_tls_handshakes_failed_total")
        hello = bytearray()

        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with self.assertRaises(ssl.SSLWantReadError):
            client.do_handshake()
        hello += outgoing.read()
        cases = [b"\x00" * 64, b"\xff" * 300, b"\x16\x03\x01\xff\xff" + b"x" * 100, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
                 bytes(hello[:20]) + b"\x00" * (len(hello) - 20), b"\x80\x2e\x01\x03\x00" + b"x" * 41]
        for case in cases:
            # Whatever comes back is an alert or nothing, and then the end.
            self.assertLess(len(self.node.raw(case, half_close=True)), 100, case)
        # Half a ClientHello and none, with the socket left open: closed when the time for heads is over.
        waiting = []
        for part in (bytes(hello[:len(hello) // 2]), b""):
            connection = socket.create_connection(("127.0.0.1", self.node.port), timeout=40)
            connection.sendall(part)
            waiting.append(connection)
        # A handshake that stops after the server's part as well.
        connection = socket.create_connection(("127.0.0.1", self.node.port), timeout=40)
        connection.sendall(hello)
        self.assertTrue(connection.recv(1))
        waiting.append(connection)
        for connection in waiting:
            read_to_end(connection)
            connection.close()
        wait_until(lambda: counter(self.node, "edge_tls_handshakes_failed_total") >= failed + len(cases) + 3, what="the counter")
        self.assertEqual(self.node.get("/hello").text, "hello")

    def test_a_handshake_in_single_bytes(self):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with socket.create_connection(("127.0.0.1", self.node.port), timeout=30) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def turn():
                for byte in outgoing.read():
                    connection.sendall(bytes([byte]))

            def step(action):
                while True:
                    try:
                        return action()
                    except ssl.SSLWantReadError:
                        turn()
                        incoming.write(connection.recv(65536))

            step(client.do_handshake)
            # The request comes in the packet of the client's last message: it must not wait for another packet.
            client.write(b"GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            connection.sendall(outgoing.read())
            received = step(lambda: client.read(65536))
            while not received.endswith(b"hello"):
                received += step(lambda: client.read(65536))
            self.assertTrue(received.startswith(b"HTTP/1.1 200"))

    def test_many_requests_in_one_record_and_one_in_many(self):
        with connect(self.node.port) as connection:
            connection.sendall(b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n" * 300)
            received = b""
            while received.count(b"\r\n\r\nhello") < 300:
                received += connection.recv(65536)
            for byte in b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n":
                connection.sendall(bytes([byte]))
            self.assertTrue(connection.recv(65536).startswith(b"HTTP/1.1 200"))

    def test_renegotiation_is_refused(self):
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{self.node.port}", "-tls1_2", "-legacy_renegotiation"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
            for _ in range(3):
                client.stdin.write(b"R\n")
                client.stdin.flush()
            text = client.communicate(timeout=60)[0].decode("utf-8", "replace")
        self.assertIn("RENEGOTIATING", text)
        self.assertRegex(text, "(?i)no.renegotiation|handshake failure|unexpected message")
        self.assertEqual(self.node.get("/hello").text, "hello")

    def test_keys_are_renewed_when_the_client_asks(self):
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{self.node.port}", "-tls1_3", "-crlf"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
            # A line of its own with K asks for new keys in both directions.
            for line in (b"K\n", b"K\n", b"GET /hello HTTP/1.1\n", b"Host: localhost\n", b"Connection: close\n", b"\n"):
                client.stdin.write(line)
                client.stdin.flush()
                time.sleep(0.1)
            text = client.stdout.read().decode("utf-8", "replace")
            client.stdin.close()
        self.assertIn("KEYUPDATE", text)
        self.assertIn("HTTP/1.1 200", text)
        self.assertIn("\nhello", text)

    # MARK: The end

    def test_the_end_is_announced_when_the_answer_is_whole(self):
        with connect(self.node.port) as connection:
            connection.sendall(b"GET /stream/3 HTTP/1.0\r\nHost: localhost\r\n\r\n")
            received = b""
            # Without close_notify this would raise: the socket reports ragged ends.
            while piece := connection.recv(65536):
                received += piece
            self.assertEqual(len(received.partition(b"\r\n\r\n")[2]), 3 << 16)

    def test_the_end_is_not_announced_when_something_is_missing(self):
        with Node("run", product("HelloWorker"), "--https", "--no-log-requests") as node, connect(node.port) as connection:
            # In HTTP/1.0 nothing else tells the client where the body ends.
            connection.sendall(b"GET /stream/20000 HTTP/1.0\r\nHost: localhost\r\n\r\n")
            self.assertTrue(connection.recv(65536).startswith(b"HTTP/1.1 200"))
            for pid in node.isolate_pids():
                os.kill(pid, signal.SIGKILL)
            with self.assertRaises((ssl.SSLEOFError, ConnectionResetError)):
                while connection.recv(65536):
                    pass

    def test_a_client_that_has_ended_its_sending_gets_its_answer(self):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        for ends_socket in (False, True):
            with socket.create_connection(("127.0.0.1", self.node.port), timeout=30) as connection:
                incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
                client = context().wrap_bio(incoming, outgoing, server_hostname="localhost")
                while True:
                    try:
                        client.do_handshake()
                        break
                    except ssl.SSLWantReadError:
                        connection.sendall(outgoing.read())
                        incoming.write(connection.recv(65536))
                client.write(b"GET /sleep/200 HTTP/1.1\r\nHost: localhost\r\n\r\n")
                with self.assertRaises(ssl.SSLWantReadError):
                    client.unwrap()
                connection.sendall(outgoing.read())
                if ends_socket:
                    connection.shutdown(socket.SHUT_WR)
                while piece := connection.recv(65536):
                    incoming.write(piece)
                incoming.write_eof()
                received = b""
                try:
                    while piece := client.read(65536):
                        received += piece
                except ssl.SSLZeroReturnError:
                    pass
                self.assertTrue(received.endswith(b"slept"), (ends_socket, received))

    # MARK: Bodies

    def curl(self, *arguments):
        done = subprocess.run(["curl", "--silent", "--show-error", "--insecure", *arguments], capture_output=True, timeout=200)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_large_bodies_both_ways_at_flat_memory(self):
        with tempfile.TemporaryDirectory() as folder:
            source, target = os.path.join(folder, "up"), os.path.join(folder, "down")
            piece = os.urandom(1 << 20)
            with open(source, "wb") as file:
                for _ in range(150):
                    file.write(piece)
            before, most, done = resident(self.node), [0], threading.Event()

            def watch():
                while not done.wait(0.02):
                    most[0] = max(most[0], resident(self.node))

            watcher = threading.Thread(target=watch)
            watcher.start()
            try:
                self.curl("--output", target, "-X", "POST", "-T", source, f"https://127.0.0.1:{self.node.port}/echo")
            finally:
                done.set()
                watcher.join()
            self.assertEqual(subprocess.run(["cmp", source, target]).returncode, 0)
            self.assertLess(most[0] - before, 40 << 20)

    def test_an_object_goes_out_of_its_file(self):
        with tempfile.TemporaryDirectory() as folder, Node(
                "run", product("StoreWorker"), "--https", "--no-log-requests", "--r2", "R2=bucket") as node:
            source, target = os.path.join(folder, "up"), os.path.join(folder, "down")
            with open(source, "wb") as file:
                file.write(os.urandom((20 << 20) + 12_345))
            url = f"https://127.0.0.1:{node.port}/r2/object"
            self.curl("-T", source, url)
            for version in ("--tlsv1.3", "--tls-max=1.2"):
                self.curl("--output", target, *(version.split("=")), url)
                self.assertEqual(subprocess.run(["cmp", source, target]).returncode, 0)
            # A client that reads slowly, in pieces that fit no record.
            with open(source, "rb") as file:
                digest = hashlib.sha256(file.read()).hexdigest()
            plain = socket.socket()
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            plain.settimeout(60)
            plain.connect(("127.0.0.1", node.port))
            before = resident(node)
            with context().wrap_socket(plain, server_hostname="localhost") as connection:
                connection.sendall(b"GET /r2/object HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                received = hashlib.sha256()
                head = b""
                while b"\r\n\r\n" not in head:
                    head += connection.recv(100)
                received.update(head.partition(b"\r\n\r\n")[2])
                for index in range(1 << 30):
                    piece = connection.recv(70_001)
                    if not piece:
                        break
                    received.update(piece)
                    if index % 200 == 0:
                        # Others are served meanwhile, and what isn't read isn't held.
                        self.assertEqual(node.get("/r2/none").status, 404)
                        self.assertLess(resident(node) - before, 30 << 20)
                self.assertEqual(received.hexdigest(), digest)

    def test_clients_that_go_in_the_middle(self):
        def open_connections():
            return counter(self.node, "edge_connections")

        before = open_connections()
        for index in range(40):
            plain = socket.create_connection(("127.0.0.1", self.node.port), timeout=30)
            if index % 2:
                # A reset instead of an end.
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if index % 4 < 2:
                connection = context().wrap_socket(plain, server_hostname="localhost")
                connection.sendall(b"GET /stream/2000 HTTP/1.1\r\nHost: localhost\r\n\r\n" if index % 8 < 4 else
                                   b"POST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 100_000)
                if index % 8 < 4:
                    connection.recv(100)
                connection.close()
            else:
                plain.sendall(b"\x16\x03\x01\x02\x00\x01")
                plain.close()
        wait_until(lambda: open_connections() <= before, 30, open_connections)
        self.assertEqual(self.node.get("/hello").text, "hello")
