"""HTTP/2 by its usual clients: curl, nghttp, h2load, openssl. See Tests/Clients for single frames."""

import os
import re
import signal
import subprocess
import tempfile
import threading
import unittest

from harness import Node, product, wait_until
from projects import Project
from tls_clients import counter, resident

MIB = 1 << 20


def run(*arguments, input=None, timeout=120):
    done = subprocess.run(arguments, capture_output=True, input=input, timeout=timeout)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr.decode()}")
    return done.stdout


class Curl:
    """Requests with curl over HTTP/2, with or without TLS."""

    def __init__(self, node):
        self.node = node
        self.prior = not node.url.startswith("https:")

    def __call__(self, path, *arguments, input=None):
        way = "--http2-prior-knowledge" if self.prior else "--http2"
        return run("curl", "--silent", "--show-error", "--insecure", way, *arguments,
                   f"{self.node.url}{path}".replace("localhost", "127.0.0.1"), input=input)

    def head(self, path, *arguments, input=None):
        """Status line and fields of the answer, then its body."""
        text = self(path, "--include", *arguments, input=input)
        head, _, body = text.rpartition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        return lines[0], dict(line.split(": ", 1) for line in lines[1:] if ": " in line), body


class Requests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.nodes = [
            cls.enterClassContext(Node("run", product("HelloWorker"), *arguments, "--no-log-requests", "--body", "400MB"))
            for arguments in ((), ("--https",))]
        cls.clients = [Curl(node) for node in cls.nodes]

    def each(self):
        for node, curl in zip(self.nodes, self.clients):
            with self.subTest(url=node.url):
                yield node, curl

    def test_an_answer_as_over_http_1_1(self):
        for node, curl in self.each():
            line, fields, body = curl.head("/hello")
            self.assertEqual((line.strip(), body), ("HTTP/2 200", b"hello"))
            other = node.get("/hello")
            self.assertEqual({name: fields[name] for name in fields if name not in ("cf-ray", "date")},
                             {name.lower(): value for name, value in other.headers.items() if name.lower() not in ("cf-ray", "date")})
            self.assertRegex(fields["cf-ray"], "^[0-9a-f]{16}-[A-Z]{3}$")

    def test_the_worker_sees_the_same_request(self):
        for node, curl in self.each():
            seen = dict(line.split(": ", 1) for line in curl(
                "/headers", "-H", "X-Upper: Value", "-H", "Cookie: a=1", "-H", "X-Forwarded-For: 1.1.1.1").decode().splitlines())
            scheme = node.url.partition(":")[0]
            self.assertEqual(seen["x-upper"], "Value")
            self.assertEqual(seen["cookie"], "a=1")
            self.assertEqual(seen["x-forwarded-for"], "1.1.1.1, 127.0.0.1")
            self.assertEqual(seen["x-forwarded-proto"], scheme)
            self.assertEqual(seen["cf-visitor"], f'{{"scheme":"{scheme}"}}')
            self.assertEqual(seen["host"], f"127.0.0.1:{node.port}")
            self.assertFalse([name for name in seen if name.startswith(":")])
            self.assertEqual(curl("/nowhere?a=%20b"), f"GET {scheme}://127.0.0.1:{node.port}/nowhere?a=%20b".encode())

    def test_methods_without_a_body(self):
        for _, curl in self.each():
            line, fields, body = curl.head("/hello", "--head")
            self.assertEqual((line.strip(), fields["content-length"], body), ("HTTP/2 200", "5", b""))
            line, _, _ = curl.head("/hello", "-X", "OPTIONS", "--request-target", "*")
            self.assertEqual(line.strip(), "HTTP/2 200")

    def test_bodies_both_ways(self):
        body = os.urandom(5 * MIB + 123)
        for _, curl in self.each():
            self.assertEqual(curl("/echo", "--data-binary", "@-", input=body), body)
            # Without a length: its end is the end of the stream.
            self.assertEqual(curl("/length", "-X", "POST", "-T", "-", input=body), str(len(body)).encode())
            self.assertEqual(len(curl("/stream/100")), 100 << 16)
            line, _, answer = curl.head("/length", "-H", "Expect: 100-continue", "--data-binary", "@-", input=body)
            self.assertEqual((line.strip(), answer), ("HTTP/2 100", str(len(body)).encode()))

    def test_large_bodies_at_flat_memory(self):
        node, curl = self.nodes[1], self.clients[1]
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, "up")
            with open(source, "wb") as file:
                file.truncate(150 * MIB)
            curl("/hello")
            before = most = resident(node)
            done = threading.Event()

            def watch():
                nonlocal most
                while not done.wait(0.01):
                    most = max(most, resident(node))

            watcher = threading.Thread(target=watch)
            watcher.start()
            try:
                self.assertEqual(curl("/echo", "--data-binary", f"@{source}", "--output", os.path.join(folder, "down")), b"")
                self.assertEqual(os.path.getsize(os.path.join(folder, "down")), 150 * MIB)
            finally:
                done.set()
                watcher.join()
            self.assertLess(most - before, 40 * MIB)

    def test_compression(self):
        for _, curl in self.each():
            plain = curl("/prose/2000")
            for coding in ("br", "gzip"):
                line, fields, body = curl.head("/prose/2000", "-H", f"Accept-Encoding: {coding}")
                self.assertEqual(fields["content-encoding"], coding)
                self.assertNotIn("content-length", fields)
                self.assertLess(len(body), len(plain) // 2)
            self.assertEqual(curl("/prose/2000", "--compressed"), plain)

    def test_errors_and_limits(self):
        for node, curl in self.each():
            line, fields, body = curl.head("/error", "-H", "Accept: text/html")
            self.assertEqual(line.strip(), "HTTP/2 500")
            self.assertIn(fields["cf-ray"].encode(), body)
            self.assertEqual(curl.head("/" + "p" * (16 << 10))[0].strip(), "HTTP/2 414")
            self.assertEqual(curl.head("/hello", *[part for index in range(300) for part in ("-H", f"X-{index}: 1")])[0].strip(),
                             "HTTP/2 431")
            self.assertIn(b"http=http/2\n", curl("/cdn-cgi/trace"))
            self.assertEqual(curl("/__edge/health/live"), b"live\n")

    def test_a_body_over_the_limit(self):
        with Node("run", product("HelloWorker"), "--body", "1MB", "--no-log-requests") as node:
            curl = Curl(node)
            for arguments in (("--data-binary", "@-"), ("-X", "POST", "-T", "-")):
                with self.subTest(arguments=arguments):
                    line, _, _ = curl.head("/length", *arguments, input=b"x" * (3 * MIB))
                    self.assertEqual(line.strip(), "HTTP/2 413")

    def test_requests_are_logged_with_their_version(self):
        with Node("run", product("HelloWorker"), "--log-requests") as node:
            Curl(node)("/hello")
            node.get("/json")
            node.wait_for_log("GET /json")
            lines = [line for line in node.log_text().splitlines() if "GET /" in line]
            self.assertIn("http=HTTP/2 ", lines[0])
            self.assertIn("http=HTTP/1.1 ", lines[1])

    def test_nghttp_gets_all_it_asks_for(self):
        for node, _ in self.each():
            text = run(
                "nghttp", "--null-out", "--stat", *[f"{node.url}/stream/{count}" for count in (1, 9, 30)], f"{node.url}/hello").decode()
            self.assertEqual(len(re.findall(r" 200 +\S+ /", text)), 4, text)

    def test_many_requests_on_few_connections(self):
        for node, _ in self.each():
            before = counter(node, "edge_http2_connections_total")
            text = run("h2load", "-n", "20000", "-c", "8", "-m", "100", f"{node.url}/hello").decode()
            self.assertIn("20000 succeeded, 0 failed, 0 errored, 0 timeout", text)
            self.assertEqual(counter(node, "edge_http2_connections_total") - before, 8)
            text = run("h2load", "-n", "200", "-c", "4", "-m", "20", f"{node.url}/stream/20").decode()
            self.assertIn("200 succeeded, 0 failed, 0 errored, 0 timeout", text)

    def test_openssl_agrees_on_h2(self):
        node = self.nodes[1]
        text = run("openssl", "s_client", "-connect", f"127.0.0.1:{node.port}", "-alpn", "h2,http/1.1", input=b"").decode("latin-1")
        self.assertIn("ALPN protocol: h2", text)

    def test_http_1_1_goes_on_beside_it(self):
        for node, _ in self.each():
            self.assertEqual(run("curl", "--silent", "--insecure", "--http1.1", f"{node.url}/hello"), b"hello")


class Sources(unittest.TestCase):
    """Answers that don't come from a handler."""

    def test_objects_go_out_of_their_files(self):
        with tempfile.TemporaryDirectory() as folder, Node(
                "run", product("StoreWorker"), "--https", "--no-log-requests", "--r2", "R2=bucket") as node:
            curl = Curl(node)
            source, target = os.path.join(folder, "up"), os.path.join(folder, "down")
            with open(source, "wb") as file:
                file.write(os.urandom(20 * MIB + 12_345))
            curl("/r2/object", "-T", source)
            curl("/r2/object", "--output", target)
            self.assertEqual(subprocess.run(["cmp", source, target]).returncode, 0)
            # Many at once, in pieces side by side.
            text = run("h2load", "-n", "24", "-c", "2", "-m", "6", f"{node.url}/r2/object").decode()
            self.assertIn("24 succeeded, 0 failed, 0 errored, 0 timeout", text)
            self.assertIn(f"{24 * os.path.getsize(source)}) data", text)

    def test_files(self):
        with Project(
            'format = 1\ntenant = "t"\ncompatibility_date = "2026-08-01"\n[workers.w]\nproduct = "HelloWorker"\n'
            'routes = ["{domain}/*"]\nassets = { directory = "public" }\n', {"dev": "format = 1\n"}
        ) as project:
            project.write("public/page.html", "<p>" + "a page " * 4000)
            project.write("public/small.txt", "small")
            with project.dev("--no-watch") as node:
                curl = Curl(node)
                line, fields, body = curl.head("/small.txt")
                self.assertEqual((line.strip(), body), ("HTTP/2 200", b"small"))
                line, _, _ = curl.head("/small.txt", "-H", f"If-None-Match: {fields['etag']}")
                self.assertEqual(line.strip(), "HTTP/2 304")
                self.assertEqual(curl.head("/page.html")[0].strip(), "HTTP/2 307")
                self.assertEqual(len(curl("/page")), 28_003)
                self.assertEqual(curl("/page", "-H", "Range: bytes=0-2"), b"<p>")


class End(unittest.TestCase):
    def test_no_request_is_lost_when_the_node_ends(self):
        with Node("run", product("HelloWorker"), "--no-log-requests") as node:
            # Slow ones are under way when the node is told to end; each gets its answer.
            client = subprocess.Popen(
                ["nghttp", "--null-out", "--stat", *[f"{node.url}/sleep/{1500 + index}" for index in range(20)]],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            wait_until(lambda: counter(node, "edge_requests_total") >= 20, what="the requests")
            node.process.send_signal(signal.SIGTERM)
            text = client.communicate(timeout=60)[0]
            self.assertEqual(len(re.findall(r" 200 +\S+ /", text)), 20, text)
            self.assertEqual(node.process.wait(40), 0)

    def test_a_node_without_work_ends_at_once_with_clients_that_wait(self):
        with Node("run", product("HelloWorker"), "--https", "--no-log-requests") as node:
            client = subprocess.Popen(["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{node.port}", "-alpn", "h2"],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            try:
                client.stdin.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
                client.stdin.flush()
                wait_until(lambda: counter(node, "edge_http2_connections_total") == 1, what="the connection")
                self.assertEqual(node.stop(), 0)
                self.assertIn(b"\0\0\x08\x07\0\0\0\0\0", client.stdout.read())
            finally:
                client.kill()
                client.communicate()


if __name__ == "__main__":
    unittest.main()
