"""Live tails: the REST calls, the WebSocket that events come over, and what they say of an event."""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import unittest

import certificates
from harness import Node, edge, product, wait_until
from projects import Project
from raw_websocket import BINARY, CLOSE, PING, PONG, TEXT, RawWebSocket, Refused


class API:
    """What a test needs of the REST API."""

    def __init__(self, node, token=None, account="local"):
        self.node = node
        self.account = account
        with open(os.path.join(node.state, "operator-token")) as file:
            self.token = token or file.read().strip()

    def ask(self, method, path, body=None, token=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.node.control_port, timeout=20)
        connection.request(
            method, "/client/v4" + path, body=None if body is None else json.dumps(body),
            headers={"Authorization": f"Bearer {token or self.token}"})
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        return response.status, answer

    def make(self, *filters, worker="hello-worker"):
        status, answer = self.ask("POST", f"/accounts/{self.account}/workers/scripts/{worker}/tails", {"filters": list(filters)})
        if status != 200:
            raise AssertionError((status, answer))
        return answer["result"]

    def delete(self, tail, worker="hello-worker"):
        return self.ask("DELETE", f"/accounts/{self.account}/workers/scripts/{worker}/tails/{tail['id']}")

    def follow(self, *filters, worker="hello-worker", **keywords):
        tail = RawWebSocket(self.make(*filters, worker=worker)["url"], **keywords)
        tail.send(TEXT, b'{"debug":false}')
        # The pong comes behind the message: from here on the tail sees all events.
        tail.send(PING, b"there?")
        assert tail.receive() == (PONG, b"there?")
        return tail


def event(tail):
    opcode, payload = tail.receive()
    assert opcode == TEXT, (opcode, payload)
    return json.loads(payload)


class Tails(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(
            Node("run", product("HelloWorker"), "--service", "SERVICE=" + product("HelloWorker"), "--queue", "QUEUE=jobs",
                 "--consume", "jobs", "--cpu", "200ms"))
        cls.api = API(cls.node)

    def test_probe_20_a_request_is_one_event(self):
        with self.api.follow() as tail:
            self.assertIn("Sec-WebSocket-Protocol: trace-v1\r\n", tail.head + "\r\n")
            self.assertEqual(self.node.get("/log/3?a=1", headers={"Authorization": "Bearer x", "X-A": "b"}).text, "logged")
            seen = event(tail)
        self.assertEqual(seen["outcome"], "ok")
        self.assertEqual(seen["scriptName"], "hello-worker")
        self.assertEqual(seen["exceptions"], [])
        self.assertEqual([log["message"] for log in seen["logs"]], [["line", {"number": str(n)}] for n in range(3)])
        self.assertEqual({log["level"] for log in seen["logs"]}, {"info"})
        request = seen["event"]["request"]
        self.assertEqual(request["url"], f"http://127.0.0.1:{self.node.port}/log/3?a=1")
        self.assertEqual(request["method"], "GET")
        self.assertEqual((request["headers"]["authorization"], request["headers"]["x-a"]), ("REDACTED", "b"))
        self.assertEqual(seen["event"]["response"], {"status": 200})
        self.assertTrue(seen["scriptVersion"]["id"])
        self.assertIsInstance(seen["eventTimestamp"], int)
        self.assertFalse(seen["truncated"])

    def test_probe_20_a_filter_suppresses_an_event(self):
        with self.api.follow({"outcome": ["exception"]}) as tail:
            self.node.get("/log/1")
            self.node.get("/error")
            # The first would have come before it.
            self.assertTrue(event(tail)["event"]["request"]["url"].endswith("/error"))

    def test_probe_20_without_the_subprotocol_it_is_refused(self):
        url = self.api.make()["url"]
        for protocol in (None, "other"):
            with self.assertRaises(Refused) as caught:
                RawWebSocket(url, protocol=protocol)
            self.assertEqual(caught.exception.status, 400)
        # The tail is still there for a client that knows better.
        RawWebSocket(url).socket.close()

    def test_probe_22_a_request_that_throws(self):
        with self.api.follow() as tail:
            self.assertEqual(self.node.get("/error", headers={"authorization": "secret"}).status, 500)
            seen = event(tail)
        self.assertEqual(seen["outcome"], "exception")
        self.assertEqual(
            [(thrown["name"], thrown["message"]) for thrown in seen["exceptions"]], [("Failure", "this route always fails")])
        self.assertEqual(seen["event"]["request"]["headers"]["authorization"], "REDACTED")

    def test_what_else_becomes_of_events(self):
        with self.api.follow() as tail:
            self.node.get("/burn")
            seen = event(tail)
            self.assertEqual(seen["outcome"], "exceededCpu")
            # Background work belongs to its event.
            self.node.get("/later/50")
            seen = event(tail)
            self.assertEqual((seen["outcome"], [log["message"][0] for log in seen["logs"]]), ("ok", ["later"]))
            self.assertGreaterEqual(seen["wallTime"], 50)
            # A client that leaves.
            with self.node.connect() as connection:
                connection.sendall(b"GET /sleep/60000 HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertEqual(event(tail)["outcome"], "canceled")
            self.assertEqual(self.node.get("/nowhere").status, 404)
            self.assertEqual(event(tail)["event"]["response"]["status"], 404)
            # Background work that fails: there is no such binding.
            self.assertEqual(self.node.get("/later-put/1/x").text, "later")
            seen = event(tail)
            self.assertEqual((seen["outcome"], seen["event"]["response"]["status"]), ("exception", 200))
            self.assertIn("waitUntil() task failed: ", seen["exceptions"][0]["message"])
            # The end of the isolate; the request is tried on another one, and then has nobody who waits for it.
            with self.node.connect() as connection:
                connection.sendall(b"GET /sleep/60000 HTTP/1.1\r\nHost: a\r\n\r\n")
                self.node.get("/hello")
                event(tail)
                for worker in self.node.status()["workers"]:
                    for pid in worker["pids"] if worker["name"] == "hello-worker" else []:
                        os.kill(pid, signal.SIGKILL)
                self.assertEqual(event(tail)["outcome"], "unknown")
            self.assertEqual(event(tail)["outcome"], "canceled")

    def test_a_called_worker_has_events_of_its_own(self):
        with self.api.follow(worker="service-service") as tail:
            self.assertEqual(self.node.get("/service/log/1").text, "logged")
            seen = event(tail)
        self.assertEqual((seen["scriptName"], seen["event"]["request"]["url"]), ("service-service", "http://service/log/1"))

    def test_filters(self):
        get, own = self.node.get, {"X-Marker": "red apple"}
        cases = [
            ({"method": ["POST"]}, lambda: self.node.request("POST", "/length", body=b"x"), "/length"),
            ({"header": {"key": "X-Marker"}}, lambda: get("/log/2", headers=own), "/log/2"),
            ({"header": {"key": "x-marker", "query": "apple"}}, lambda: get("/log/2", headers=own), "/log/2"),
            ({"client_ip": ["self"]}, lambda: get("/log/2"), None),
            ({"query": "line"}, lambda: get("/log/2"), "/log/2"),
            ({"sampling_rate": 1}, lambda: get("/log/2"), None),
            ({"scriptVersion": self.version()}, lambda: get("/log/2"), None),
        ]
        for filter, matching, path in cases:
            with self.subTest(filter=filter), self.api.follow(filter) as tail:
                get("/hello?first")
                matching()
                self.assertTrue(event(tail)["event"]["request"]["url"].endswith(path or "/hello?first"))
        for filter in [
            {"method": ["POST"]}, {"header": {"key": "X-Marker"}}, {"client_ip": ["10.1.2.3"]}, {"query": "absent"},
            {"sampling_rate": 0}, {"scriptVersion": "other"}, {"outcome": ["exception"]},
        ]:
            with self.subTest(suppressed=filter), self.api.follow(filter) as tail, self.api.follow() as all:
                get("/hello")
                event(all)
                # What the event had to say would be in front of the pong.
                tail.send(PING, b"and?")
                self.assertEqual(tail.receive(), (PONG, b"and?"))

    def version(self):
        return next(w["version"] for w in self.node.status()["workers"] if w["name"] == "hello-worker")

    def test_filters_over_the_socket(self):
        with self.api.follow() as tail:
            tail.send(TEXT, b'{"filters":[{"outcome":["exception"]}],"debug":false}')
            tail.send(PING)
            self.assertEqual(tail.receive()[0], PONG)
            self.node.get("/hello")
            self.node.get("/error")
            self.assertEqual(event(tail)["outcome"], "exception")
            tail.send(TEXT, b'{"filters":[{"taste":"sweet"}]}')
            self.assertEqual(tail.close_code(), (1008, 'There is no filter "taste"'))

    def test_mistakes(self):
        path = "/accounts/local/workers/scripts/hello-worker/tails"
        for body, status, code in [
            ({"filters": [{"taste": 1}]}, 400, 10021), ({"filters": [{"outcome": ["fine"]}]}, 400, 10026),
            ({"filters": [{"sampling_rate": 2}]}, 400, 10021), ({"filters": [{"client_ip": ["nobody"]}]}, 400, 10021),
            ({"filters": 7}, 400, 10026),
        ]:
            with self.subTest(body=body):
                answer = self.api.ask("POST", path, body)
                self.assertEqual((answer[0], answer[1]["errors"][0]["code"]), (status, code))
        for method, path in [("POST", "scripts/nope/tails"), ("GET", "scripts/nope/tails"), ("DELETE", "scripts/nope/tails/x")]:
            answer = self.api.ask(method, "/accounts/local/workers/" + path, {} if method == "POST" else None)
            self.assertEqual((answer[0], answer[1]["errors"][0]["code"]), (404, 10007))
        self.assertEqual(self.api.delete({"id": "0" * 32})[0], 404)
        self.assertEqual(self.node.get("/client/v4/workers/tails/" + "0" * 64, port=self.node.control_port).status, 404)

    def test_a_tail_is_made_listed_followed_once_and_deleted(self):
        # Without a body, as older clients ask.
        status, answer = self.api.ask("POST", "/accounts/local/workers/scripts/hello-worker/tails")
        self.assertEqual(status, 200)
        tail = answer["result"]
        self.assertRegex(tail["expires_at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        status, listed = self.api.ask("GET", "/accounts/local/workers/scripts/hello-worker/tails")
        self.assertEqual(listed["result"]["id"], tail["id"])
        plain = self.node.get(tail["url"].split(str(self.node.control_port), 1)[1], port=self.node.control_port)
        self.assertEqual((plain.status, plain.header("sec-websocket-version")), (426, "13"))
        with RawWebSocket(tail["url"]) as socket:
            with self.assertRaises(Refused) as caught:
                RawWebSocket(tail["url"])
            self.assertEqual(caught.exception.status, 409)
            status, answer = self.api.delete(tail)
            self.assertEqual((status, "result" in answer), (200, False))
            self.assertEqual(socket.close_code(), (1000, "the tail was deleted"))
            socket.send(CLOSE, b"\x03\xe8")
            self.assertTrue(socket.is_ended())
        self.assertEqual(self.api.delete(tail)[0], 404)
        # It ends with its connection; deleting it then is what wrangler does.
        tail = self.api.make()
        with RawWebSocket(tail["url"]) as socket:
            socket.send(CLOSE, b"\x03\xe8bye")
            self.assertEqual(socket.close_code(), (1000, ""))
            self.assertTrue(socket.is_ended())
        self.assertEqual(self.api.delete(tail)[0], 200)
        self.assertEqual(self.api.delete(tail)[0], 404)
        with self.assertRaises(Refused):
            RawWebSocket(tail["url"])

    def test_who_may(self):
        other = self.api.ask("POST", "/user/tokens", {
            "name": "reader", "policies": [{
                "effect": "allow", "resources": {"com.cloudflare.api.account.*": "*"},
                "permission_groups": [{"id": "kv:edit"}]}]})[1]["result"]["value"]
        path = "/accounts/local/workers/scripts/hello-worker/tails"
        self.assertEqual(self.api.ask("POST", path, {}, token=other)[0], 403)
        self.assertEqual(self.api.ask("GET", path, token=other)[0], 403)
        with self.assertRaises(Refused) as caught:
            RawWebSocket(self.api.make()["url"], headers=["Origin: https://evil.example"])
        self.assertEqual(caught.exception.status, 403)

    def test_mistakes_of_a_client(self):
        long = RawWebSocket.frame(TEXT, b"x" * 70_000)
        for name, frames, code in [
            ("reserved opcode", b"\x83\x80\0\0\0\0", 1002), ("reserved bit", b"\xc1\x80\0\0\0\0", 1002),
            ("nothing to continue", RawWebSocket.frame(0, b"x"), 1002), ("too large", long, 1009),
            ("no text", RawWebSocket.frame(TEXT, b"\xff"), 1007), ("long ping", RawWebSocket.frame(PING, b"x" * 126), 1002),
            ("bad code", RawWebSocket.frame(CLOSE, b"\x03\xed"), 1002),
        ]:
            with self.subTest(name), RawWebSocket(self.api.make()["url"]) as socket:
                socket.socket.sendall(frames)
                self.assertEqual(socket.close_code()[0], code)
                self.assertTrue(socket.is_ended())

    def test_what_a_client_may(self):
        with RawWebSocket(self.api.make()["url"], behind=RawWebSocket.frame(PING, b"early")) as socket:
            self.assertEqual(socket.receive(), (PONG, b"early"))
            # wrangler sends its one message unmasked.
            socket.send(TEXT, b'{"debug":false}', masked=False)
            socket.send(BINARY, b"whatever")
            socket.send(TEXT, b'{"de', final=False)
            socket.send(PING, b"within")
            socket.send(0, b'bug":false}')
            self.assertEqual(socket.receive(), (PONG, b"within"))
            for byte in RawWebSocket.frame(PING, b"slowly"):
                socket.socket.sendall(bytes([byte]))
            self.assertEqual(socket.receive(), (PONG, b"slowly"))
            self.assertEqual(self.node.get("/hello").text, "hello")
            self.assertEqual(event(socket)["outcome"], "ok")
            socket.send(CLOSE, b"\x0f\xa1done")
            self.assertEqual(socket.close_code()[0], 4001)

    def test_a_worker_has_ten_tails(self):
        path = "/accounts/local/workers/scripts/service-service/tails"
        tails = [self.api.make(worker="service-service") for _ in range(10)]
        status, answer = self.api.ask("POST", path, {})
        self.assertEqual((status, answer["errors"][0]["code"]), (400, 10021))
        for tail in tails:
            self.assertEqual(self.api.delete(tail, worker="service-service")[0], 200)
        self.assertEqual(self.api.ask("GET", path)[1]["result"], None)
        self.api.delete(self.api.make(worker="service-service"), worker="service-service")


SHAPE = """format = 1
tenant = "t"
compatibility_date = "2026-08-01"
[workers.hello]
product = "HelloWorker"
routes = ["{domain}/*"]
crons = ["0 3 * * *"]
"""


class OtherEvents(unittest.TestCase):
    def test_a_cron(self):
        with Project(SHAPE) as project, project.dev() as node:
            with API(node, account="t").follow(worker="hello") as tail:
                answer = node.get("/cdn-cgi/handler/scheduled?cron=0+3+*+*+*&time=1767236400000", host="localhost")
                self.assertEqual(answer.status, 200, answer.text)
                seen = event(tail)
            self.assertEqual(seen["event"], {"cron": "0 3 * * *", "scheduledTime": 1767236400000})
            self.assertEqual((seen["outcome"], seen["logs"][0]["message"][0]), ("ok", "scheduled"))

    def test_secrets_are_hidden_by_their_values(self):
        shape = SHAPE + 'secrets = ["TOKEN"]\n'
        with Project(shape, dev_vars="TOKEN=hunter2hunter2\n") as project, project.dev() as node:
            with API(node, account="t").follow(worker="hello") as tail:
                node.get("/leak/TOKEN/log?of=hunter2hunter2", host="localhost", headers={"x-a": "hunter2hunter2"})
                node.get("/leak/TOKEN/error", host="localhost")
                seen = [event(tail), event(tail)]
            self.assertNotIn("hunter2", json.dumps(seen))
            self.assertEqual(seen[0]["logs"][0]["message"], ["leak in a log: <redacted>.", {"field": "<<redacted>>"}])
            self.assertEqual(seen[0]["event"]["request"]["headers"]["x-a"], "<redacted>")
            self.assertEqual(seen[1]["exceptions"][0]["message"], "leak in an error: <redacted>.")

    def test_a_batch_that_fails(self):
        with Node("run", product("StoreWorker"), "--kv", "KV", "--queue", "QUEUE=jobs", "--consume", "jobs") as node:
            with API(node).follow({"outcome": ["exception"]}, worker="store-worker") as tail:
                # Its key is too long for the store, which the handler doesn't catch.
                node.request("POST", "/queue-batch", b"x" * 600)
                seen = event(tail)
            self.assertEqual(seen["event"], {"queue": "jobs", "batchSize": 1})
            self.assertIn("uncaught error: ", seen["exceptions"][0]["message"])

    def test_a_batch(self):
        with Node("run", product("StoreWorker"), "--kv", "KV", "--queue", "QUEUE=jobs", "--consume", "jobs") as node:
            with API(node).follow({"outcome": ["ok", "exception"]}, worker="store-worker") as tail:
                node.request("POST", "/queue-batch", b"a\nb")
                self.assertIn("request", event(tail)["event"])
                seen = event(tail)
            self.assertEqual((seen["outcome"], seen["event"]), ("ok", {"queue": "jobs", "batchSize": 2}))


class Follower:
    """`edge tail` as a user starts it."""

    def __init__(self, node, *arguments):
        self.process = subprocess.Popen(
            [product("edge"), "tail", *arguments, "--state", node.state], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, bufsize=1)
        self.errors = []
        # Nothing is printed before the node has the tail; the WebSocket follows by itself.
        threading.Thread(target=self.read_errors, daemon=True).start()

    def read_errors(self):
        for line in self.process.stderr:
            self.errors.append(line)

    def line(self):
        return self.process.stdout.readline().rstrip("\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def until_followed(node, follower, path="/hello?knock"):
    """Knocks until the tail shows a request: from then on it shows all."""
    stop = threading.Event()

    def knock():
        while not stop.wait(0.05):
            node.get(path)

    thread = threading.Thread(target=knock)
    thread.start()
    first = follower.line()
    stop.set()
    thread.join()
    return first


class CommandLine(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node("run", product("HelloWorker"), "--no-log-requests"))

    def lines(self, follower, mark):
        """Those behind the knocking."""
        while mark not in (line := follower.line()):
            self.assertIn("knock", line)
        return line

    def test_lines_for_people(self):
        with Follower(self.node, "hello-worker") as follower:
            self.assertRegex(
                until_followed(self.node, follower),
                rf"^GET http://127\.0\.0\.1:{self.node.port}/hello\?knock - Ok @ \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d$")
            self.node.get("/log/2")
            self.assertRegex(self.lines(follower, "/log/2"), "^GET http.*/log/2 - Ok @ ")
            self.assertEqual([follower.line(), follower.line()], [
                f'  (info) line {{"number":"{number}"}}' for number in range(2)])
            self.node.request("GET", "/error")
            self.assertIn("/error - Exception Thrown @ ", follower.line())
            self.assertEqual(follower.line(), "  ✘ Failure: this route always fails")
            self.assertIn("waiting for events", follower.errors[0])
            follower.process.send_signal(signal.SIGINT)
            self.assertEqual(follower.process.wait(20), 0)
        # It has deleted its tail.
        self.assertIsNone(API(self.node).ask("GET", "/accounts/local/workers/scripts/hello-worker/tails")[1]["result"])

    def test_json_and_filters(self):
        with Follower(
            self.node, "hello-worker", "--format", "json", "--status", "error", "--status", "ok", "--method", "get", "--header",
            "X-Marker: red", "--search", "line", "--sampling-rate", "1", "--ip", "self", "--tenant", "local",
        ) as follower:
            stop = threading.Event()

            def knock():
                while not stop.wait(0.05):
                    self.node.get("/log/1", headers={"x-marker": "blue"})
                    self.node.get("/hello", headers={"x-marker": "red"})
                    self.node.request("POST", "/length", body=b"x", headers={"x-marker": "red"})
                    self.node.get("/log/3", headers={"x-marker": "infrared"})

            thread = threading.Thread(target=knock)
            thread.start()
            seen = [json.loads(follower.line()) for _ in range(3)]
            stop.set()
            thread.join()
            self.assertEqual([len(one["logs"]) for one in seen], [3] * 3)
            self.assertEqual(follower.errors, [])

    def test_the_end_of_the_reader_is_its_end(self):
        with Follower(self.node, "hello-worker") as follower:
            until_followed(self.node, follower)
            follower.process.stdout.close()
            wait_until(lambda: self.node.get("/hello") and follower.process.poll() is not None, what="its end")
            self.assertEqual(follower.process.returncode, 0)
            follower.process.stdout = open(os.devnull)
        self.assertIsNone(API(self.node).ask("GET", "/accounts/local/workers/scripts/hello-worker/tails")[1]["result"])

    def test_a_tail_that_is_deleted_ends_it(self):
        with Follower(self.node, "hello-worker") as follower:
            until_followed(self.node, follower)
            api = API(self.node)
            for tail in api.ask("GET", "/accounts/local/workers/scripts/hello-worker/tails")[1]["result"]["tails"]:
                api.delete(tail)
            self.assertEqual(follower.process.wait(20), 1)
            wait_until(lambda: any("the tail was deleted" in line for line in follower.errors), what="the reason")

    def test_mistakes_of_the_command_line(self):
        for words, code, text in [
            (("nope",), 1, "This Worker does not exist on your account. (10007)"), ((), 64, "WORKER"),
            (("hello-worker", "--status", "fine"), 64, "ok, error or canceled"),
            (("hello-worker", "--sampling-rate", "7"), 64, "a number from 0 to 1"),
            (("hello-worker", "--format", "xml"), 64, "pretty or json"), (("hello-worker", "--header", ":x"), 64, "NAME"),
            (("hello-worker", "--ip", "nobody"), 1, "client_ip"), (("hello-worker", "--token", "wrong"), 1, "Authentication"),
        ]:
            with self.subTest(words=words):
                done = edge("tail", *words, "--state", self.node.state, timeout=30)
                self.assertEqual((done.returncode, text in done.stderr), (code, True), done.stderr)

    def test_a_node_that_starts_anew_is_followed_again(self):
        with Node("run", product("HelloWorker"), "--no-log-requests") as node:
            with Follower(node, "hello-worker") as follower:
                until_followed(node, follower)
                for end in (node.stop, node.kill):
                    end()
                    wait_until(lambda: any("trying again" in line for line in follower.errors), what="that it notices")
                    follower.errors.clear()
                    node.start()
                    while "again" not in until_followed(node, follower, "/hello?again"):
                        pass


class EncryptingProxy:
    """Speaks TLS with clients, and hands their bytes on to a port of this machine."""

    def __init__(self, folder, port):
        self.authority, key = certificates.make(folder, "proxy", ["localhost"])
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.authority, key)
        self.port = port
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://localhost:{self.socket.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                plain, _ = self.socket.accept()
                client = self.context.wrap_socket(plain, server_side=True)
            except ssl.SSLError:
                continue
            except OSError:
                return
            node = socket.create_connection(("127.0.0.1", self.port))
            for source, target in [(client, node), (node, client)]:
                threading.Thread(target=self.pump, args=(source, target), daemon=True).start()

    @staticmethod
    def pump(source, target):
        try:
            while piece := source.recv(65536):
                target.sendall(piece)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class Encrypted(unittest.TestCase):
    def test_a_tail_over_https(self):
        with tempfile.TemporaryDirectory() as folder, Node("run", product("HelloWorker"), "--no-log-requests") as node:
            proxy = EncryptingProxy(folder, node.control_port)
            self.addCleanup(proxy.close)
            with Follower(node, "hello-worker", "--remote", proxy.url, "--ca", proxy.authority) as follower:
                self.assertIn("- Ok @", until_followed(node, follower))
            done = edge("tail", "hello-worker", "--remote", proxy.url, "--state", node.state, timeout=30)
            self.assertEqual(done.returncode, 1)
            self.assertIn("certificate", done.stderr)


class Stopping(unittest.TestCase):
    def test_a_node_that_stops_says_so(self):
        with Node("run", product("HelloWorker")) as node, API(node).follow() as tail:
            node.process.send_signal(signal.SIGTERM)
            self.assertEqual(tail.close_code()[0], 1001)
            tail.send(CLOSE, b"\x03\xe9")
            self.assertEqual(node.process.wait(20), 0)


class Flood(unittest.TestCase):
    """A worker that logs more than its reader reads: the node keeps its memory, the worker its pace, the reader what is new."""

    def test_a_reader_that_never_reads(self):
        with Node("run", product("HelloWorker"), "--no-log-requests", "--log-level", "error") as node:
            api = API(node)
            with api.follow(receive_buffer=4096) as tail:
                for _ in range(20):
                    node.get("/log/500")
                before = resident(node.process.pid)
                # 500 events with 500 lines each, some 40 KB of JSON: 20 MB, twenty times what may wait.
                failures = []

                def client():
                    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=30)
                    for _ in range(125):
                        connection.request("GET", "/log/500")
                        if connection.getresponse().read() != b"logged":
                            failures.append(1)
                    connection.close()

                clients = [threading.Thread(target=client) for _ in range(4)]
                for thread in clients:
                    thread.start()
                for thread in clients:
                    thread.join()
                self.assertEqual(failures, [])
                self.assertLess(resident(node.process.pid) - before, 16 << 20)
                # Then it reads: what is left is the newest, and it is told of the rest.
                node.get("/log/1?last")
                events, dropped = 0, 0
                while True:
                    seen = event(tail)
                    if seen["event"].get("type") == "overload":
                        dropped += seen["event"]["dropped"]
                        continue
                    events += 1
                    if seen["event"]["request"]["url"].endswith("?last"):
                        break
                self.assertEqual(events + dropped, 521)
                self.assertGreater(dropped, 300)

    def test_one_event_that_logs_too_much(self):
        with Node("run", product("HelloWorker"), "--no-log-requests", "--log-level", "error") as node:
            with API(node).follow() as tail:
                node.get("/log/10000")
                seen = event(tail)
            self.assertEqual(seen["outcome"], "ok")
            self.assertLess(len(json.dumps(seen["logs"])), 1 << 20)
            self.assertGreater(len(seen["logs"]), 1000)
            self.assertLess(len(seen["logs"]), 10_000)


def resident(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


if __name__ == "__main__":
    unittest.main()
