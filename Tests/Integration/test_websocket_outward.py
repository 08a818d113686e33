"""WebSockets that workers open to servers outside (spec runtime, sections 1 and 2; RFC 6455 §4.1)."""

import base64
import hashlib
import os
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import unittest
from urllib.parse import quote

from harness import Node, product, wait_until
from raw_websocket import BINARY, CLOSE, PING, PONG, TEXT, RawWebSocket, Refused
from test_streaming import Memory


class Server:
    """Answers each connection by the path that is asked for; a context manager."""

    def __init__(self, answers):
        self.answers, self.heads, self.seen = answers, [], []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def url(self, path, scheme="ws"):
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    def serve(self, connection):
        with connection:
            connection.settimeout(60)
            head = b""
            while b"\r\n\r\n" not in head:
                piece = connection.recv(65536)
                if not piece:
                    return
                head += piece
            text = head.decode("latin-1")
            self.heads.append(text)
            answer = self.answers[text.split(" ")[1].split("?")[0]]
            try:
                answer(self, connection, text)
            except (OSError, AssertionError) as error:
                self.seen.append(error)

    @staticmethod
    def accept_line(head):
        key = next(line.split(": ", 1)[1] for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key"))
        return base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()

    def switch(self, connection, head, *lines, accept=None, behind=b""):
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: WebSocket", "Connection: upgrade",
                 f"Sec-WebSocket-Accept: {accept or self.accept_line(head)}", *lines, "", ""]
        connection.sendall("\r\n".join(lines).encode() + behind)


class Peer(RawWebSocket):
    """The server's end of a connection, once it has switched: what a client sends must be masked."""

    def __init__(self, connection):
        self.socket, self.buffer = connection, b""

    def send(self, opcode, payload=b"", **keywords):
        super().send(opcode, payload, masked=False, **keywords)

    def frame_of_client(self):
        first, second = self._take(2)
        assert second & 0x80, "a client's frame is not masked"
        length = second & 0x7F
        if length > 125:
            length = struct.unpack(">H" if length == 126 else ">Q", self._take(2 if length == 126 else 8))[0]
        mask = self._take(4)
        payload = self._take(length)
        return first, bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload)), mask


def echo(server, connection, head):
    server.switch(connection, head)
    peer, masks = Peer(connection), set()
    while True:
        first, payload, mask = peer.frame_of_client()
        masks.add(mask)
        if first & 15 == CLOSE:
            server.seen.append(struct.unpack(">H", payload[:2])[0] if payload else None)
            server.seen.append(len(masks))
            return peer.send(CLOSE, payload[:2])
        peer.send(first & 15, payload, final=bool(first & 0x80))


def raw(text):
    return lambda server, connection, head: connection.sendall(text.replace("\n", "\r\n").encode())


def switched(*lines, **keywords):
    def answer(server, connection, head):
        server.switch(connection, head, *lines, **keywords)
        connection.recv(1)
    return answer


class Outward(unittest.TestCase):
    seconds = 60

    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node(
            "run", product("HelloWorker"), "--no-log-requests", "--isolates", "1", "--allow-private"))

    def open(self, server, path, route="/ws/outside/relay", **keywords):
        keywords.setdefault("protocol", None)
        keywords.setdefault("timeout", 60)
        return RawWebSocket(f"{self.node.url}{route}?url={quote(server.url(path))}", **keywords)

    def ask(self, url, *protocols, route="/ws/outside/open"):
        names = "".join(f"&protocol={quote(name)}" for name in protocols)
        return self.node.get(f"{route}?url={quote(url)}{names}").text

    # MARK: A conversation

    def test_a_worker_talks_with_a_server(self):
        with Server({"/echo": echo}) as server:
            with self.open(server, "/echo") as ws:
                for size in (0, 5, 200, 70_000, 1 << 20):
                    ws.send(TEXT, b"x" * size)
                    self.assertEqual(ws.receive(), (TEXT, b"relayed " + b"x" * size))
                ws.send(BINARY, bytes(range(256)))
                self.assertEqual(ws.receive(), (BINARY, bytes(range(256))))
                ws.send(CLOSE, struct.pack(">H", 1000))
                self.assertEqual(ws.close_code()[0], 1000)
            wait_until(lambda: len(server.seen) == 2, what="the close at the server")
            self.assertEqual(server.seen[0], 3001)
            # No two frames have the same mask, but by chance.
            self.assertGreaterEqual(server.seen[1], 6)
            head = server.heads[0].lower()
            for line in ("get /echo http/1.1", f"host: 127.0.0.1:{server.port}", "upgrade: websocket", "connection: upgrade",
                         "sec-websocket-version: 13", "cf-worker: ", "cdn-loop: edge; loops=1", "sec-websocket-extensions: permessage-deflate"):
                self.assertIn(line, head)
            self.assertNotIn("sec-websocket-protocol", head)

    def test_fetch_with_upgrade_has_the_socket_in_its_response(self):
        with Server({"/echo": echo}) as server:
            url = quote(server.url("/echo", "http"))
            self.assertIn("one text", self.node.get(f"/ws/outside?url={url}&text=one%20text").text)
            # A ws URL is WebSocket's, not fetch's.
            self.assertEqual(self.node.get(f"/ws/outside?url={quote(server.url('/echo'))}").status, 500)
            self.node.wait_for_log("Fetch API cannot load: ws://")

    def test_a_socket_returned_unread_is_proxied(self):
        with Server({"/echo": echo}) as server:
            path = f"/ws/outside?pass&url={quote(server.url('/echo', 'http'))}"
            with RawWebSocket(self.node.url + path, protocol=None, timeout=60) as ws:
                # What passes without a worker between goes on in pieces, as it comes.
                for size in (5, 100_000, 3 << 20):
                    ws.send(BINARY, b"\x07" * size)
                    self.assertEqual(ws.receive_message(), (BINARY, b"\x07" * size))
                ws.send(PING, b"mine")
                self.assertEqual(ws.receive(), (PONG, b"mine"))
                ws.send(CLOSE, struct.pack(">H", 4123))
                self.assertEqual(ws.close_code()[0], 4123)
            wait_until(lambda: server.seen, what="the close at the server")
            self.assertEqual(server.seen[0], 4123)
            # A client that is lost is lost to the server as well: there is no Close frame.
            with RawWebSocket(self.node.url + path, protocol=None, timeout=60) as ws:
                ws.send(TEXT, b"x")
                ws.receive()
            wait_until(lambda: len(server.seen) == 3, what="the end at the server")
            self.assertIsInstance(server.seen[2], (ConnectionError, AssertionError))

    def test_a_server_that_talks_first_and_pings(self):
        def answer(server, connection, head):
            server.switch(connection, head, behind=Peer.frame(TEXT, b"first", masked=False))
            peer = Peer(connection)
            peer.send(TEXT, b"sec", final=False)
            peer.send(PING, b"there?")
            server.seen.append(peer.frame_of_client()[:2])
            peer.send(0, b"ond")
            peer.send(CLOSE, struct.pack(">H", 4002))
            server.seen.append(peer.frame_of_client()[:2])
        with Server({"/": answer}) as server, self.open(server, "/") as ws:
            self.assertEqual([ws.receive(), ws.receive()], [(TEXT, b"relayed first"), (TEXT, b"relayed second")])
            self.assertEqual(ws.close_code()[0], 4002)
            wait_until(lambda: len(server.seen) == 2, what="the close at the server")
            self.assertEqual(server.seen, [(0x80 | PONG, b"there?"), (0x80 | CLOSE, struct.pack(">H", 4002))])

    def test_a_server_that_breaks_the_rules_is_told_so(self):
        cases = {
            "/masked": (RawWebSocket.frame(TEXT, b"x"), 1002),
            "/text": (Peer.frame(TEXT, b"\xff", masked=False), 1007),
            "/large": (b"\x82\x7f" + struct.pack(">Q", (32 << 20) + 1), 1009),
            "/opcode": (b"\x83\x00", 1002),
            "/compressed": (b"\xc1\x00", 1002),
        }

        def answer(frame):
            def run(server, connection, head):
                server.switch(connection, head, behind=frame)
                first, payload, _ = Peer(connection).frame_of_client()
                server.seen.append((first & 15, struct.unpack(">H", payload[:2])[0]))
            return run
        for path, (frame, code) in cases.items():
            with self.subTest(path), Server({path: answer(frame)}) as server, self.open(server, path) as ws:
                self.assertIsNone(ws.close_code()[0])
                wait_until(lambda: server.seen, what="what the server is told")
                self.assertEqual(server.seen, [(CLOSE, code)])

    def test_a_server_that_is_lost(self):
        def answer(server, connection, head):
            server.switch(connection, head)
            Peer(connection).frame_of_client()
        with Server({"/": answer}) as server, self.open(server, "/") as ws:
            ws.send(TEXT, b"x")
            self.assertIsNone(ws.close_code()[0])
        wait_until(lambda: self.node.get("/ws/last").text.startswith("1006 WebSocket disconnected"), what="1006")

    # MARK: The handshake

    def test_what_is_no_upgrade_is_a_response(self):
        answers = {
            "/length": raw("HTTP/1.1 403 Forbidden\nContent-Length: 3\n\nno!"),
            "/chunks": raw("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nno\n1\n!\n0\nX-Trailer: a\n\n"),
            "/close": raw("HTTP/1.0 503 Busy\n\nno!"),
            "/empty": raw("HTTP/1.1 204 No Content\n\n"),
            "/early": raw("HTTP/1.1 103 Early Hints\nLink: </a>\n\nHTTP/1.1 404 Not Found\nContent-Length: 0\n\n"),
        }
        with Server(answers) as server:
            for path, status in (("/length", 403), ("/chunks", 200), ("/close", 503), ("/empty", 204), ("/early", 404)):
                with self.subTest(path):
                    url = server.url(path, "http")
                    self.assertEqual(self.node.get(f"/ws/outside?url={quote(url)}").text, f"no WebSocket: {status}")
                    self.assertEqual(
                        self.ask(server.url(path)),
                        "Failed to establish the WebSocket connection: expected server to reply with HTTP status code 101 "
                        f"(switching protocols), but received {status} instead.")
                    # Passed on as it is.
                    with self.assertRaises(Refused) as caught:
                        RawWebSocket(f"{self.node.url}/ws/outside?answer&url={quote(url)}", protocol=None, timeout=60)
                    self.assertEqual(caught.exception.status, status)
                    whole = caught.exception.body
                    self.assertEqual(b"no!" in whole or b"2\r\nno" in whole, status in (403, 200, 503))

    def test_answers_that_make_no_websocket(self):
        answers = {
            "/accept": switched(accept="AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            "/extension": switched("Sec-WebSocket-Extensions: x-own"),
            "/context": switched("Sec-WebSocket-Extensions: permessage-deflate"),
            "/bits": switched("Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_max_window_bits=9"),
            "/protocol": switched("Sec-WebSocket-Protocol: other"),
            "/upgrade": raw("HTTP/1.1 101 Switching Protocols\nUpgrade: h2c\nConnection: upgrade\n\n"),
            "/garbage": raw("SSH-2.0-Other\n\n\n"),
            "/head": raw("HTTP/1.1 200 OK\nX: " + "x" * 300_000 + "\n\n"),
            "/nothing": lambda *_: None,
        }
        with Server(answers) as server:
            for path, text in (("/accept", "Sec-WebSocket-Accept is wrong"), ("/extension", "extension that wasn't offered"),
                               ("/context", "extension that wasn't offered"), ("/bits", "extension that wasn't offered"),
                               ("/protocol", "protocol that wasn't offered"), ("/upgrade", "upgrades to something else"),
                               ("/garbage", "Network connection lost."), ("/head", "Network connection lost."),
                               ("/nothing", "Network connection lost.")):
                with self.subTest(path):
                    self.assertIn(text, self.ask(server.url(path), "chat"))

    def test_a_protocol_is_chosen_from_those_offered(self):
        with Server({"/": switched("Sec-WebSocket-Protocol: chat")}) as server:
            self.assertEqual(self.ask(server.url("/"), "other", "chat"), "protocol chat")
            self.assertIn("sec-websocket-protocol: other, chat\r\n", server.heads[0].lower())
            self.assertIn("must be different tokens", self.ask(server.url("/"), "a", "A"))
            self.assertIn("must be different tokens", self.ask(server.url("/"), "a b"))
            self.assertIn("SyntaxError", self.ask(server.url("/#x")))
            self.assertIn("SyntaxError", self.ask("ftp://127.0.0.1/"))

    def test_redirects_are_followed_by_fetch_and_not_by_webSocket(self):
        with Server({"/echo": echo}) as server:
            there = raw(f"HTTP/1.1 302 Found\nLocation: {server.url('/echo', 'http')}\nContent-Length: 0\n\n")
            around = raw("HTTP/1.1 302 Found\nLocation: /around\nContent-Length: 0\n\n")
            server.answers |= {"/there": there, "/around": around}
            self.assertIn("hi", self.node.get(f"/ws/outside?url={quote(server.url('/there', 'http'))}&text=hi").text)
            self.assertIn("received 302", self.ask(server.url("/there")))
            self.assertEqual(self.node.get(f"/ws/outside?url={quote(server.url('/around', 'http'))}").status, 500)
            self.node.wait_for_log("Too many redirects.")

    # MARK: Limits

    def test_private_addresses_are_refused_unless_granted(self):
        with Server({"/echo": echo}) as server, Node("run", product("HelloWorker"), "--no-log-requests") as node:
            for host in ("127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.1.2.3"):
                url = quote(f"ws://{host}:{server.port}/echo")
                answer = node.get(f"/ws/outside/open?url={url}").text
                self.assertRegex(answer, "allow list does not name it|is not a public address")
            self.assertEqual(server.heads, [])

    def test_nobody_listens(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        self.assertEqual(self.ask(f"ws://127.0.0.1:{port}/"), "Network connection lost.")
        self.assertEqual(self.ask("ws://name.invalid/"), "Network connection lost.")

    def test_more_than_six_handshakes_wait_in_line(self):
        with Server({"/echo": echo}) as server:
            url = quote(server.url("/echo"))
            self.assertEqual(self.node.get(f"/ws/outside/many/40?url={url}").text, "all")

    def test_seven_handshakes_that_are_not_answered(self):
        """The seventh isn't begun before one of the six has its answer."""
        release = threading.Event()

        def answer(server, connection, head):
            release.wait(60)
            echo(server, connection, head)
        with Server({"/": answer}) as server:
            results = []
            asking = threading.Thread(
                target=lambda: results.append(self.node.get(f"/ws/outside/many/7?url={quote(server.url('/'))}").text))
            asking.start()
            wait_until(lambda: len(server.heads) == 6, what="six handshakes")
            self.assertEqual(self.node.get("/hello").text, "hello")
            self.assertEqual(len(server.heads), 6)
            release.set()
            asking.join(60)
            self.assertEqual((results, len(server.heads)), (["all"], 7))

    def test_a_server_that_floods_is_held_back_by_a_slow_client(self):
        sent = []

        def answer(server, connection, head):
            server.switch(connection, head)
            message = Peer.frame(BINARY, bytes(60_000), masked=False)
            connection.settimeout(2)
            try:
                while sum(sent) < 200 << 20:
                    sent.append(connection.send(message) and len(message))
            except TimeoutError:
                sent.append(0)
        for route in ("/ws/outside/relay", "/ws/outside"):
            sent.clear()
            with self.subTest(route), Memory(self, self.node), Server({"/": answer}) as server:
                url = quote(server.url("/", "http"))
                with RawWebSocket(f"{self.node.url}{route}?pass&url={url}", protocol=None, timeout=60, receive_buffer=4096):
                    wait_until(lambda: sent and sent[-1] == 0, 60, "a server that waits")
                    self.assertLess(sum(sent), 64 << 20)

    def test_a_server_that_does_not_read_holds_the_client_back(self):
        def answer(server, connection, head):
            server.switch(connection, head)
            server.stop.wait(60)
        for route in ("/ws/outside/relay", "/ws/outside"):
            with self.subTest(route), Memory(self, self.node), Server({"/": answer}) as server:
                server.stop = threading.Event()
                url = quote(server.url("/", "http"))
                with RawWebSocket(f"{self.node.url}{route}?pass&url={url}", protocol=None, timeout=60) as ws:
                    ws.socket.settimeout(2)
                    sent, message = 0, RawWebSocket.frame(BINARY, bytes(60_000))
                    with self.assertRaises(TimeoutError):
                        while sent < 200 << 20:
                            ws.socket.sendall(message)
                            sent += len(message)
                    self.assertLess(sent, 64 << 20)
                server.stop.set()


class Other:
    """A server with TLS for another name, that says nothing more."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.authority = os.path.join(self.folder.name, "one.pem")
        key = os.path.join(self.folder.name, "one.key")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", "/CN=other", "-addext", "subjectAltName=DNS:other.test", "-keyout", key, "-out", self.authority],
            check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.authority, key)
        self.listener = context.wrap_socket(socket.create_server(("127.0.0.1", 0)), server_side=True)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def accept(self):
        try:
            self.listener.accept()
        except OSError:
            pass

    def __exit__(self, *_):
        self.listener.close()
        self.folder.cleanup()


class Secured(unittest.TestCase):
    """wss to a node of our own, whose certificate only those trust who are told to."""

    def test_the_server_s_certificate_is_verified(self):
        with Node("run", product("HelloWorker"), "--https", "--no-log-requests") as server:
            port = server.port
            authority = os.path.join(server.state, "localhost.pem")
            trusting = os.environ | {"SSL_CERT_FILE": authority, "SSL_CERT_DIR": server.state}
            with Node("run", product("HelloWorker"), "--no-log-requests", "--allow-private", env=trusting) as node:
                def ask(host, path="/ws/echo"):
                    return node.get(f"/ws/outside/open?url={quote(f'wss://{host}:{port}{path}')}").text
                self.assertEqual(ask("localhost"), "protocol none")
                self.assertIn("received 200", ask("localhost", "/hello"))
                with RawWebSocket(
                        f"{node.url}/ws/outside/relay?url={quote(f'wss://localhost:{port}/ws/echo')}", protocol=None,
                        timeout=60) as ws:
                    for size in (5, 100_000, 1 << 20):
                        ws.send(TEXT, b"x" * size)
                        self.assertEqual(ws.receive(), (TEXT, b"relayed " + b"x" * size))
                    ws.send(CLOSE, struct.pack(">H", 1000))
                    self.assertEqual(ws.close_code()[0], 1000)
                # Another server's, which is trusted, but not for this name.
                with Other() as other:
                    trusting["SSL_CERT_FILE"] = other.authority
                    with Node("run", product("HelloWorker"), "--no-log-requests", "--allow-private", env=trusting) as second:
                        url = quote(f"wss://localhost:{other.port}/")
                        self.assertEqual(second.get(f"/ws/outside/open?url={url}").text, "Network connection lost.")
                        second.wait_for_log("TLS: hostname mismatch")
            with Node("run", product("HelloWorker"), "--no-log-requests", "--allow-private") as node:
                self.assertEqual(
                    node.get(f"/ws/outside/open?url={quote(f'wss://localhost:{port}/ws/echo')}").text,
                    "Network connection lost.")
                node.wait_for_log("TLS: self-signed certificate")


if __name__ == "__main__":
    unittest.main()
