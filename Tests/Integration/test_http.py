"""The HTTP/1.1 edge, on the wire."""

import os
import re
import resource
import socket
import threading
import time
import unittest

from harness import ROOT, Node, product, wait_until
from projects import Project


STATUS = re.compile(rb"HTTP/1\.1 (\d\d\d) ")
REFUSALS = {400, 408, 414, 417, 431, 501, 505}


def split_head(data):
    head, _, body = data.partition(b"\r\n\r\n")
    return head.decode("latin-1"), body


def status_of(data):
    return int(data.split(b" ", 2)[1]) if data.startswith(b"HTTP/1.") else None


class EdgeHTTP(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = Node("run", product("HelloWorker"), "--no-log-requests", "--body", "20MB").start()

    @classmethod
    def tearDownClass(cls):
        cls.node.__exit__()

    def exchange(self, connection, data):
        """One request on an open connection; reads exactly one answer with Content-Length."""
        connection.sendall(data)
        received = b""
        while b"\r\n\r\n" not in received:
            piece = connection.recv(65536)
            self.assertTrue(piece, received)
            received += piece
        head, body = split_head(received)
        length = int(next(l.split(":")[1] for l in head.split("\r\n") if l.lower().startswith("content-length")))
        while len(body) < length:
            body += connection.recv(65536)
        return head, body

    def test_keep_alive_serves_many_requests_on_one_connection(self):
        with self.node.connect() as connection:
            for _ in range(50):
                head, body = self.exchange(connection, b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
                self.assertTrue(head.startswith("HTTP/1.1 200"))
                self.assertEqual(body, b"hello")

    def test_http_1_0_closes_unless_asked_to_keep_alive(self):
        answer = self.node.raw(b"GET /hello HTTP/1.0\r\n\r\n")
        self.assertIn(b"Connection: close", answer)
        with self.node.connect() as connection:
            head, _ = self.exchange(connection, b"GET /hello HTTP/1.0\r\nConnection: keep-alive\r\nHost: a\r\n\r\n")
            self.assertIn("Connection: keep-alive", head)
            self.exchange(connection, b"GET /hello HTTP/1.0\r\nConnection: keep-alive\r\nHost: a\r\n\r\n")

    def test_pipelined_requests_are_answered_in_order(self):
        requests = b"".join(
            b"GET /parameter/%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(200)
        ) + b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        answer = self.node.raw(requests)
        bodies = [part.partition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 200 OK")[1:]]
        self.assertEqual(bodies, [b"%d" % number for number in range(200)] + [b"hello"])

    def test_chunked_bodies_with_trailers_arrive_whole(self):
        answer = self.node.raw(
            b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            b"5\r\nhello\r\n6;ext=\"x\"\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n")
        self.assertEqual(status_of(answer), 200)
        self.assertIn(b"hello", answer)
        self.assertIn(b" world", answer)

    def test_a_body_in_single_bytes_arrives_whole(self):
        with self.node.connect() as connection:
            data = b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\nConnection: close\r\n\r\n" + b"x" * 20
            for byte in data:
                connection.sendall(bytes([byte]))
            received = b""
            while piece := connection.recv(65536):
                received += piece
            self.assertTrue(received.endswith(b"20"), received)

    def test_expect_continue_is_answered_at_once(self):
        with self.node.connect() as connection:
            connection.sendall(
                b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n"
                b"Connection: close\r\n\r\n")
            self.assertEqual(connection.recv(65536), b"HTTP/1.1 100 Continue\r\n\r\n")
            connection.sendall(b"hello")
            self.assertIn(b"200 OK", connection.recv(65536))

    def test_head_has_the_length_and_no_body(self):
        answer = self.node.raw(b"HEAD /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        head, body = split_head(answer)
        self.assertIn("Content-Length: 5", head)
        self.assertEqual(body, b"")

    def test_absolute_form_overrides_host(self):
        answer = self.node.raw(
            b"GET http://example.com/headers HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n")
        self.assertEqual(status_of(answer), 200)

    def test_probe_1_the_node_says_who_the_client_is(self):
        answer = self.node.get("/headers", headers={"CF-Connecting-IP": "6.6.6.6", "X-Forwarded-For": "1.1.1.1"})
        lines = answer.text.splitlines()
        self.assertIn("cf-connecting-ip: 127.0.0.1", lines)
        self.assertIn("x-forwarded-for: 1.1.1.1, 127.0.0.1", lines)

    def test_probe_2_the_ray_of_the_answer_is_the_requests(self):
        answer = self.node.get("/headers")
        ray = answer.header("CF-Ray")
        self.assertRegex(ray, r"^[0-9a-f]{16}-[A-Z]{3}$")
        self.assertIn(f"cf-ray: {ray}", answer.text.splitlines())

    def test_probe_3_an_uncaught_error_is_1101(self):
        answer = self.node.get("/error")
        self.assertEqual(answer.status, 500)
        self.assertIn("error code: 1101", answer.text)
        page = self.node.get("/error", headers={"Accept": "text/html"})
        self.assertIn("<h1>Error 1101</h1>", page.text)

    def test_probe_4_a_handler_that_can_never_answer_is_1101(self):
        answer = self.node.get("/hang", timeout=20)
        self.assertEqual(answer.status, 500)
        self.node.wait_for_log("would never generate a response")

    def test_probe_6_headers_named_by_connection_are_dropped(self):
        answer = self.node.get("/headers", headers={"Connection": "X-Foo", "X-Foo": "1"})
        self.assertNotIn("x-foo", answer.text)
        self.assertNotIn("connection:", answer.text)

    def test_a_declared_body_above_the_limit_is_refused_before_it_is_read(self):
        with self.node.connect() as connection:
            connection.sendall(b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 20000001\r\n\r\n")
            self.assertIn(b"413", connection.recv(65536).split(b"\r\n")[0])

    def test_a_chunked_body_above_the_limit_is_refused(self):
        with self.node.connect() as connection:
            connection.sendall(b"POST /length HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            received = b""
            try:
                for _ in range(400):
                    connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            except OSError:
                pass
            try:
                received = connection.recv(65536)
            except OSError:
                pass
            self.assertIn(b"413", received.split(b"\r\n")[0])

    def test_too_long_targets_and_heads_are_refused(self):
        self.assertEqual(status_of(self.node.raw(b"GET /" + b"a" * 17000 + b" HTTP/1.1\r\nHost: a\r\n\r\n")), 414)
        self.assertEqual(
            status_of(self.node.raw(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 140000 + b"\r\n\r\n")), 431)

    def test_a_client_that_leaves_cancels_its_event(self):
        with self.node.connect() as connection:
            connection.sendall(b"GET /sleep/60000 HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_until(lambda: self.node.status()["connections"] >= 2, what="the connection")
        wait_until(lambda: self.node.status()["connections"] == 1, what="the connection's end")
        self.assertEqual(self.node.get("/hello").text, "hello")

    def test_wait_until_goes_on_after_the_answer(self):
        self.assertEqual(self.node.get("/later/50").text, "later")
        self.node.wait_for_log("later")

    def test_streams_of_unknown_length_are_chunked(self):
        answer = self.node.get("/stream/20")
        self.assertEqual(answer.header("Transfer-Encoding"), "chunked")
        self.assertEqual(len(answer.body), 20 * 65536)

    def test_a_client_that_resets_an_idle_stream_is_let_go(self):
        before = self.node.status()["connections"]
        for _ in range(5):
            with self.node.connect() as connection:
                connection.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
                connection.recv(20)  # The rest stays unread, so closing resets the connection.
        wait_until(lambda: self.node.status()["connections"] <= before, 20, "the end of the connections")

    def test_a_slow_reader_gets_everything(self):
        with self.node.connect(timeout=30) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            connection.sendall(b"GET /stream/64 HTTP/1.0\r\n\r\n")
            total = 0
            while piece := connection.recv(30000):
                total += len(piece)
            self.assertGreater(total, 64 * 65536)

    def test_echo_of_random_bytes_is_exact(self):
        data = os.urandom(5_000_000)
        self.assertEqual(self.node.request("POST", "/echo", body=data).body, data)

    def test_many_connections_at_once(self):
        results = []

        def one():
            results.append(self.node.get("/hello").text)

        threads = [threading.Thread(target=one) for _ in range(200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(results, ["hello"] * 200)

    def test_answers_before_the_body_leave_no_event_open(self):
        # More than an isolate handles at once: events that stayed open would take all its places.
        for _ in range(100):
            answer = self.node.raw(b"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nx")
            self.assertEqual(status_of(answer), 200)
            self.assertIn(b"Connection: close", answer)
        self.assertEqual(self.node.get("/hello").text, "hello")

    def test_background_work_leaves_nothing_open(self):
        # More than the calls that one channel may have open.
        with Node("run", product("HelloWorker"), "--no-log-requests", "--reactors", "1") as node:
            with node.connect() as connection:
                for _ in range(4200):
                    self.exchange(connection, b"GET /later/0 HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_until(lambda: node.log_text().count("later") >= 4200, what="all background work in the log")

    def test_all_lines_of_x_forwarded_for_are_passed_on(self):
        answer = self.node.raw(
            b"GET /headers HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n"
            b"Connection: close\r\n\r\n")
        self.assertIn(b"x-forwarded-for: 1.1.1.1, 2.2.2.2, 127.0.0.1\n", answer)

    def test_host_paths_never_reach_a_worker(self):
        self.assertIn("colo=LOC", self.node.get("/cdn-cgi/trace").text)
        self.assertEqual(self.node.get("/__edge/health/ready").text, "ready\n")
        self.assertEqual(self.node.get("/cdn-cgi/nothing").status, 404)


    def test_routes_and_host_paths_are_those_of_the_url_that_the_handler_sees(self):
        for path in (b"/x/../cdn-cgi/none", b"/%2e/cdn-cgi/none", b"/./__edge/none"):
            answer = self.node.raw(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            self.assertIn(b" 404 ", answer.split(b"\r\n")[0])
            self.assertNotIn(b"http://localhost", answer, "it did not reach the worker")
        answer = self.node.raw(b"GET /a/../hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        self.assertTrue(answer.endswith(b"hello"), answer)

    def test_absolute_form_without_a_path_is_the_root(self):
        for target in (b"http://localhost", b"http://localhost?a=1"):
            answer = self.node.raw(b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            self.assertIn(b" 200 ", answer.split(b"\r\n")[0], answer)

    def test_absolute_form_replaces_the_host_header(self):
        answer = self.node.raw(
            b"GET http://localhost:81/headers HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        self.assertIn(b"host: localhost:81\n", answer)
        self.assertNotIn(b"evil", answer)

    def test_a_client_that_ends_its_sending_gets_its_answers(self):
        request = b"GET /sleep/300 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        self.assertEqual(self.node.raw(request * 3, half_close=True).count(b"slept"), 3)
        post = b"POST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"
        self.assertTrue(self.node.raw(post, half_close=True).endswith(b"5"))
        # What ends in the middle of a body is no request.
        self.assertEqual(self.node.raw(post[:-1], half_close=True), b"")

    def test_head_keeps_the_length_that_the_handler_gives(self):
        self.assertEqual(self.node.request("HEAD", "/length-of-nothing").header("content-length"), "1234")

    def test_headers_of_the_connection_end_at_the_node(self):
        answer = self.node.get("/connection-headers")
        self.assertEqual(answer.text, "ok")
        for name in ("x-foo", "x-accel-limit"):
            self.assertIsNone(answer.header(name))
        self.assertEqual(answer.header("x-bar"), "1")
        self.assertEqual(answer.header("cf-cache-status"), "DYNAMIC")

    def test_methods_are_case_sensitive(self):
        answer = self.node.raw(b"get /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        self.assertIn(b"get http://localhost/nothing", answer)

    def test_websocket_requests_are_seen_as_such(self):
        answer = self.node.raw(
            b"GET /headers HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n")
        self.assertIn(b"upgrade: websocket\n", answer)

    def test_a_request_that_goes_in_a_circle_ends(self):
        self.assertEqual(self.node.get("/hello", headers={"CF-EW-Via": "15"}).status, 200)
        answer = self.node.get("/hello", headers={"CF-EW-Via": "16"})
        self.assertEqual((answer.status, answer.text), (508, "error code: 1019\n"))

    def test_errors_of_the_protocol_have_a_ray_and_a_page(self):
        answer = self.node.raw(b"GET / HTTP/1.1\r\n\r\n")
        ray = re.search(rb"CF-Ray: ([0-9a-f]{16})-[A-Z]{3}\r\n", answer)
        self.assertNotEqual(ray[1], b"0" * 16)
        page = self.node.get("/error", headers={"Accept": "application/xml, text/html;q=0.9"})
        self.assertIn("<!doctype html>", page.text)
        self.assertIn(page.header("cf-ray"), page.text)


class TrustedProxy(unittest.TestCase):
    def test_the_client_is_the_last_address_that_no_trusted_proxy_has(self):
        with Project(
            'format = 1\ntenant = "t"\ncompatibility_date = "2026-08-01"\n[workers.w]\nproduct = "HelloWorker"\n'
            'routes = ["{domain}/*"]\n', {"dev": 'format = 1\ntrusted_proxies = ["127.0.0.0/8", "10.0.0.0/8"]\n'}
        ) as project, project.dev("--no-watch") as node:
            def seen(**headers):
                text = node.get("/headers", host="localhost", headers={
                    name.replace("_", "-"): value for name, value in headers.items()}).text
                return dict(line.split(": ", 1) for line in text.splitlines())
            self.assertEqual(seen(X_Forwarded_For="6.6.6.6, 1.2.3.4, 10.0.0.9")["cf-connecting-ip"], "1.2.3.4")
            self.assertEqual(seen(X_Forwarded_For="nonsense, 10.0.0.9")["cf-connecting-ip"], "10.0.0.9")
            self.assertEqual(seen()["cf-connecting-ip"], "127.0.0.1")
            self.assertEqual(seen(X_Real_IP="5.6.7.8", X_Forwarded_For="1.2.3.4")["cf-connecting-ip"], "5.6.7.8")
            self.assertEqual(seen(X_Forwarded_Proto="https")["cf-visitor"], '{"scheme":"https"}')


class Descriptors(unittest.TestCase):
    def test_a_node_without_descriptors_waits_for_some(self):
        with Node("run", product("HelloWorker"), "--no-log-requests") as node:
            self.assertEqual(node.get("/hello").text, "hello")
            pid = node.process.pid
            soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            highest = max(int(number) for number in os.listdir(f"/proc/{pid}/fd"))
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 5, hard))
            sockets = [node.connect() for _ in range(40)]
            try:
                node.wait_for_log("no descriptor left")
                before = cpu_seconds(pid)
                time.sleep(1)  # The measure is the CPU time of one second.
                self.assertLess(cpu_seconds(pid) - before, 0.5)
            finally:
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
                for connection in sockets:
                    connection.close()
            self.assertEqual(node.get("/hello").text, "hello")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Corpus(unittest.TestCase):
    """The corpus of malformed and dangerous requests, against a live node."""

    maxDiff = None

    def test_every_request_gets_its_status_and_dangerous_ones_end_the_connection(self):
        path = os.path.join(ROOT, "Tests", "Corpora", "http1-requests.txt")
        cases = list(read_corpus(path))
        self.assertGreaterEqual(len(cases), 200)
        with Node("run", product("HelloWorker"), "--no-log-requests") as node:
            wrong = []
            for name, expected, data in cases:
                if name == "HTTP/2 preface":
                    continue  # On a listener it is one: see test_http2.
                answers = self.statuses(node, data, expected)
                last = expected[-1]
                if last.isdigit():
                    # Accepted ones first, then the refusal, then the end of the connection.
                    if len(answers) != len(expected) or answers[-1] != int(last) or REFUSALS & set(answers[:-1]):
                        wrong.append((name, expected, answers))
                elif REFUSALS & set(answers) or len(answers) != expected.count("ok"):
                    wrong.append((name, expected, answers))
            self.assertEqual(wrong, [])
            self.assertEqual(node.get("/hello").text, "hello")

    def statuses(self, node, data, expected):
        """The statuses of all answers to `data`; ends when the node closes or all that can come has come."""
        received = b""
        with node.connect(timeout=5) as connection:
            try:
                connection.sendall(data)
            except OSError:
                pass
            mustClose = expected[-1].isdigit()
            try:
                while mustClose or len(STATUS.findall(received)) < expected.count("ok"):
                    piece = connection.recv(65536)
                    if not piece:
                        break
                    received += piece
            except (TimeoutError, ConnectionResetError):
                pass
        return [int(status) for status in STATUS.findall(received) if status != b"100"]


class Slow(unittest.TestCase):
    """Clients that take their time hold a place, and nothing else."""

    def test_slow_heads_do_not_keep_others_waiting(self):
        with Node("run", product("HelloWorker"), "--no-log-requests") as node:
            sockets = [node.connect() for _ in range(300)]
            try:
                for connection in sockets:
                    connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ")
                for _ in range(20):
                    self.assertEqual(node.get("/hello", timeout=5).text, "hello")
            finally:
                for connection in sockets:
                    connection.close()

    def test_a_head_that_never_ends_is_given_up(self):
        with Node("run", product("HelloWorker"), "--no-log-requests") as node:
            with node.connect(timeout=30) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n")
                self.assertIn(b"408", connection.recv(65536).split(b"\r\n")[0])


def read_corpus(path):
    """Yields (name, expected words, bytes): the head of the file tells its form."""

    def unescape(text):
        out = bytearray()
        index = 0
        while index < len(text):
            if text[index] != "\\":
                out += text[index].encode("ascii")
                index += 1
                continue
            escape = text[index + 1]
            simple = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
            if escape in simple:
                out += simple[escape]
                index += 2
            elif escape == "x":
                out.append(int(text[index + 2:index + 4], 16))
                index += 4
            elif escape == "{":
                close = text.index("}", index)
                count, _, repeated = text[index + 2:close].partition(":")
                out += unescape(repeated) * int(count)
                index = close + 1
            else:
                raise ValueError(text)
        return bytes(out)

    name, expected, data = None, None, b""
    with open(path, encoding="ascii") as file:
        for line in [*file, ""]:
            line = line.removesuffix("\n")
            if line.startswith("case: "):
                name, expected, data = line.removeprefix("case: "), None, b""
            elif line.startswith("expect: "):
                expected = line.removeprefix("expect: ").split()
            elif line.startswith("> "):
                data += unescape(line.removeprefix("> "))
            elif not line and name:
                yield name, expected, data
                name = None


if __name__ == "__main__":
    unittest.main()
