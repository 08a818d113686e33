"""What a handler can do, seen from outside: service bindings, background work, requests to the internet."""

import http.server
import threading
import time
import unittest

from harness import Node, product, wait_until
from projects import Project

SHAPE = """format = 1
tenant = "t"
compatibility_date = "2026-08-01"
[workers.hello]
product = "HelloWorker"
routes = ["{domain}/*"]
services = [{ binding = "SERVICE", worker = "hello" }]
"""


class Origin(http.server.BaseHTTPRequestHandler):
    """/redirect/N leads to N more; /slow answers after a second; /post-redirect/CODE redirects a POST."""

    protocol_version = "HTTP/1.1"

    def respond(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        name, _, number = self.path[1:].partition("/")
        if name == "redirect" and int(number) > 0:
            return self.respond(302, Location=f"/redirect/{int(number) - 1}")
        if name == "post-redirect":
            return self.respond(int(number), Location="/echo")
        if name == "slow":
            time.sleep(1)
        if name == "headers":
            return self.respond(200, "".join(f"{name.lower()}: {value}\n" for name, value in self.headers.items()).encode())
        self.respond(200, f"{self.command} {body.decode()}".encode())

    do_GET = do_POST = answer

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", "1234")
        self.end_headers()

    def log_message(self, *_):
        pass


class Outbound(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.origin = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Origin)
        threading.Thread(target=cls.origin.serve_forever, daemon=True).start()
        cls.url = f"http://127.0.0.1:{cls.origin.server_address[1]}"
        cls.node = Node("run", product("HelloWorker"), "--kv", "KV", "--allow-private").start()

    @classmethod
    def tearDownClass(cls):
        cls.node.__exit__()
        cls.origin.shutdown()
        cls.origin.server_close()

    def test_private_addresses_are_refused_unless_granted(self):
        with Node("run", product("HelloWorker")) as node:
            for host in ("127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.0.0.1", "0x7f.1"):
                answer = node.get(f"/fetch?url=http://{host}:{self.origin.server_address[1]}/", timeout=20)
                self.assertEqual(answer.status, 500, (host, answer.text))
        self.assertEqual(self.node.get(f"/fetch?url={self.url}/").text, "GET ")

    def test_probe_7_redirects_are_followed_twenty_times(self):
        self.assertEqual(self.node.get(f"/fetch?url={self.url}/redirect/20").text, "GET ")
        refused = self.node.get(f"/fetch?url={self.url}/redirect/21")
        self.assertEqual(refused.status, 500)
        self.assertIn("Too many redirects.", refused.text)
        self.assertEqual(self.node.get(f"/fetch-post?url={self.url}/post-redirect/302").text, "200 GET ")
        self.assertEqual(self.node.get(f"/fetch-post?url={self.url}/post-redirect/303").text, "200 GET ")

    def test_probe_8_a_redirect_of_the_origin_is_the_clients(self):
        for path, location in (("redirect/2", "/redirect/1"), ("redirect/1", "/redirect/0")):
            answer = self.node.get(f"/proxy?url={self.url}/{path}")
            self.assertEqual((answer.status, answer.header("location")), (302, location))

    def test_probe_9_the_seventh_fetch_waits(self):
        answer = self.node.get(f"/fetch-many/7?url={self.url}/slow")
        self.assertEqual(answer.status, 200, answer.text)
        statuses, _, milliseconds = answer.text.rpartition(" ")
        self.assertEqual(statuses, str([200] * 7))
        self.assertGreaterEqual(int(milliseconds), 1950)

    def test_probe_10_background_work_goes_on_behind_the_answer(self):
        # Two seconds of it: had the answer waited, the key would be there.
        self.assertEqual(self.node.get("/later-put/2000/background").text, "later")
        self.assertEqual(self.node.get("/kv/background").status, 404)
        wait_until(lambda: self.node.get("/kv/background").status == 200, what="the key")

    def test_probe_5_a_body_where_none_may_be_is_an_error(self):
        answer = self.node.get("/no-content-with-body")
        self.assertEqual(answer.status, 500)
        self.assertIn("Response with null body status", answer.text)


class BehindTheWorker(unittest.TestCase):
    """An origin: what no worker has a pattern for, and what a worker lets pass, goes there."""

    @classmethod
    def setUpClass(cls):
        cls.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Origin)
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()
        shape = SHAPE.replace("{domain}/*", "{domain}/pass-through*") + (
            '[workers.alone]\nproduct = "HelloWorker"\nroutes = ["alone.{domain}/*"]\n'
            '[workers.down]\nproduct = "HelloWorker"\nroutes = ["down.{domain}/nothing"]\n')
        cls.project = Project(shape, {"dev": f"""format = 1
[workers.hello]
origin = "http://127.0.0.1:{cls.server.server_address[1]}"
[workers.down]
origin = "http://127.0.0.1:1"
"""})
        cls.node = cls.project.dev("--no-watch").start()

    @classmethod
    def tearDownClass(cls):
        cls.node.__exit__()
        cls.project.__exit__()
        cls.server.shutdown()
        cls.server.server_close()

    def test_paths_without_a_worker_reach_the_origin(self):
        self.assertEqual(self.node.get("/any/path?q=1", host="localhost").text, "GET ")
        self.assertEqual(self.node.request("POST", "/x", body=b"b" * 300_000, host="localhost").text, "POST " + "b" * 300_000)
        answer = self.node.request("HEAD", "/x", host="localhost")
        self.assertEqual((answer.status, answer.header("content-length"), answer.body), (200, "1234", b""))

    def test_the_origin_sees_who_asked_and_for_which_host(self):
        text = self.node.get(
            "/headers", host="localhost",
            headers={"Connection": "X-Foo", "X-Foo": "1", "CF-Connecting-IP": "6.6.6.6", "Accept-Encoding": "identity"}).text
        lines = text.splitlines()
        self.assertIn("host: localhost", lines)
        self.assertIn("cf-connecting-ip: 127.0.0.1", lines)
        self.assertIn("accept-encoding: identity", lines)
        self.assertNotIn("x-foo", text)
        self.assertEqual(len([line for line in lines if line.startswith("cf-ray:")]), 1)

    def test_redirects_of_the_origin_are_the_clients(self):
        answer = self.node.get("/redirect/3", host="localhost")
        self.assertEqual((answer.status, answer.header("location")), (302, "/redirect/2"))

    def test_a_worker_that_fails_lets_pass_what_it_asked_for(self):
        answer = self.node.get("/pass-through", host="localhost")
        self.assertEqual((answer.status, answer.text), (200, "GET "))
        # The body is the worker's by then.
        self.assertEqual(self.node.request("POST", "/pass-through", body=b"x", host="localhost").status, 500)
        self.assertEqual(self.node.get("/pass-through", host="alone.localhost").status, 500, "it has no origin")

    def test_an_origin_that_is_down_is_named_by_its_number(self):
        answer = self.node.get("/other", host="down.localhost")
        self.assertEqual(answer.status, 521)
        self.assertIn("error code: 521", answer.text)
        self.assertEqual(self.node.get("/other", host="elsewhere.localhost").status, 404)


class Services(unittest.TestCase):
    def test_probe_11_the_thirty_third_invocation_fails(self):
        with Project(SHAPE) as project, project.dev("--no-watch") as node:
            deepest = node.get("/" + "service/" * 31 + "hello", host="localhost")
            self.assertEqual((deepest.status, deepest.text), (200, "hello"))
            beyond = node.get("/" + "service/" * 32 + "hello", host="localhost")
            self.assertEqual(beyond.status, 500)
            self.assertIn("Subrequest depth limit exceeded", node.log_text())
            self.assertEqual(node.get("/hello", host="localhost").text, "hello")


class Queues(unittest.TestCase):
    def test_probe_15_what_fails_to_the_end_is_in_the_dead_letter_queue_once(self):
        shape = SHAPE.replace("HelloWorker", "StoreWorker").replace(
            'services = [{ binding = "SERVICE", worker = "hello" }]\n',
            'kv = [{ binding = "KV", resource = "kv" }]\nqueues.produce = [{ binding = "QUEUE", queue = "jobs" }]\n'
            'queues.consume = [{ queue = "jobs", batch = 10, timeout = "1s", retries = 2, dead_letter = "dead" },\n'
            '    { queue = "dead", batch = 10, timeout = "1s" }]\n') + "[queues.jobs]\n[queues.dead]\n"
        with Project(shape) as project, project.dev("--no-watch") as node:
            for text in ("good", "fail-this", "ünï ✓"):
                self.assertEqual(
                    node.request("POST", "/queue", body=text.encode(), host="localhost").text, "sent")
            for key in ("seen/jobs/good", "seen/dead/fail-this"):
                wait_until(lambda: node.get(f"/kv/{key}", host="localhost").text == "1", what=key)
            names = node.get("/kv-list?prefix=seen/", host="localhost").json()["names"]
            self.assertEqual(names, ["seen/dead/fail-this", "seen/jobs/good", "seen/jobs/ünï ✓"])


if __name__ == "__main__":
    unittest.main()
