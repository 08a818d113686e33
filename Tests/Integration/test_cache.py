"""The Cache API, the cache around `fetch`, and the one in front of workers, as clients and handlers meet them."""

import gzip
import http.client
import http.server
import os
import shutil
import tempfile
import threading
import unittest
from urllib.parse import quote

from harness import Node, product, wait_until
from projects import Project
from rest import Rest


class Origin(http.server.BaseHTTPRequestHandler):
    """Counts what it is asked; `server.plan` says by path what it answers: (status, headers, body)."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        server = self.server
        with server.lock:
            server.asked.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
            plan = server.plan.get(self.path.partition("?")[0], (200, {}, b"body"))
        if callable(plan):
            plan = plan(self)
        status, headers, body = plan
        if "gate" in headers:
            headers = dict(headers)
            headers.pop("gate").wait(30)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status != 304:
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = answer

    def log_message(self, *_):
        pass


def start_origin():
    origin = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Origin)
    origin.asked, origin.plan, origin.lock = [], {}, threading.Lock()
    origin.handle_error = lambda *_: None  # A node that has heard enough ends the connection.
    threading.Thread(target=origin.serve_forever, daemon=True).start()
    origin.url = f"http://127.0.0.1:{origin.server_address[1]}"
    return origin


class CacheAPI(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = Node("run", product("StoreWorker")).start()

    @classmethod
    def tearDownClass(cls):
        cls.node.__exit__()

    def put(self, url, body=b"0123456789", node=None, query="", **headers):
        headers = {f"x-put-{name.replace('_', '-')}": value for name, value in headers.items()}
        return (node or self.node).request("POST", f"/cache?url={quote(url, safe='')}{query}", body, headers)

    def match(self, url, node=None, query="", method="GET", **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return (node or self.node).request(method, f"/cache?url={quote(url, safe='')}{query}", headers=headers)

    def test_probe_13_what_put_refuses_and_what_it_silently_leaves(self):
        url = "http://zone/13"
        for query, headers, message in [
            ("&method=POST", {}, "Cannot cache response to non-GET request."),
            ("&status=206", {}, "Cannot cache response to a range request (206 Partial Content)."),
            ("", {"vary": "*"}, "Cannot cache response with 'Vary: *' header."),
        ]:
            answer = self.put(url, query=query, **headers)
            self.assertEqual((answer.status, answer.text), (400, message))
        for headers in [{"cache_control": "no-store"}, {"cache_control": "private"}, {"cache_control": "no-cache"},
                        {"cache_control": "max-age=0"}, {"expires": "Thu, 01 Jan 1970 00:00:00 GMT"},
                        {"set_cookie": "a=1", "cache_control": "max-age=60"}]:
            self.assertEqual(self.put(url, **headers).text, "stored", headers)
            self.assertEqual(self.match(url).status, 404, headers)
        self.assertEqual(self.put(url, set_cookie="a=1", x_kept="1", cache_control="private=Set-Cookie, max-age=60").text, "stored")
        found = self.match(url)
        self.assertEqual((found.status, found.body), (200, b"0123456789"))
        self.assertIsNone(found.header("set-cookie"))
        self.assertEqual((found.header("x-kept"), found.header("cf-cache-status")), ("1", "HIT"))
        self.assertRegex(found.header("age"), r"^\d$")

    def test_probe_14_ranges_conditions_and_keys(self):
        url = "http://zone/14"
        self.put(url, cache_control="max-age=60", etag='"v1"', content_type="text/css", vary="Accept-Language")
        part = self.match(url, range="bytes=0-3")
        self.assertEqual((part.status, part.body, part.header("content-range")), (206, b"0123", "bytes 0-3/10"))
        self.assertEqual(self.match(url, range="bytes=-2").body, b"89")
        bad = self.match(url, range="bytes=10-")
        self.assertEqual((bad.status, bad.body, bad.header("content-range")), (416, b"", "bytes */10"))
        self.assertEqual(self.match(url, range="bytes=0-1,4-5").body, b"0123456789")
        unchanged = self.match(url, if_none_match='"v1"')
        self.assertEqual((unchanged.status, unchanged.body, unchanged.header("etag")), (304, b"", '"v1"'))
        self.assertEqual(self.match(url, if_none_match='"v2"').status, 200)
        # The same entry for another language, and whatever the request's Cache-Control says; another one for another query.
        self.assertEqual(self.match(url, accept_language="de", cache_control="no-cache").status, 200)
        self.put(url + "?a=1", b"one", cache_control="max-age=60")
        self.put(url + "?a=2", b"two", cache_control="max-age=60")
        self.assertEqual([self.match(f"{url}?a={n}").body for n in (1, 2)], [b"one", b"two"])
        self.assertEqual(self.match(url + "?a=3").status, 404)
        self.assertEqual(self.match(url + "#part").status, 200)
        self.assertEqual(self.match(url.replace("http:", "https:")).status, 404)

    def test_methods_names_keys_and_delete(self):
        url = "http://zone/methods"
        self.put(url, cache_control="max-age=60")
        self.assertEqual(self.match(url, query="&method=HEAD").status, 404)
        self.assertEqual(self.match(url, query="&method=HEAD&ignore=1").status, 200)
        self.put(url, b"named", query="&cache=mine", cache_control="max-age=60")
        self.assertEqual([self.match(url, query=q).body for q in ("", "&cache=mine")], [b"0123456789", b"named"])
        self.assertEqual(self.match(url, query="&cache=other").status, 404)
        self.put(url, b"keyed", query="&key=k", cache_control="max-age=60")
        self.assertEqual(self.match("http://elsewhere/", query="&key=k").body, b"keyed")
        delete = lambda query="": self.match(url, query=query, method="DELETE").text
        self.assertEqual([delete("&method=POST"), delete(), delete()], ["false", "true", "false"])
        self.assertEqual(self.match(url).status, 404)
        self.assertEqual(self.match(url, query="&cache=mine").status, 200)
        answer = self.put("no url")
        self.assertEqual((answer.status, answer.text), (400, "Invalid URL: no url"))

    def test_large_bodies_flow_both_ways(self):
        url = "http://zone/large"
        body = os.urandom(3 << 20)
        self.put(url, body, cache_control="max-age=60")
        self.assertEqual(self.match(url).body, body)
        self.assertEqual(self.match(url, range="bytes=1000000-2000000").body, body[1000000:2000001])
        self.assertEqual(self.node.get(f"/cache-length?url={quote(url, safe='')}").text, str(len(body)))
        self.put("http://zone/empty", b"", cache_control="max-age=60")
        self.assertEqual((self.match("http://zone/empty").status, self.match("http://zone/empty").body), (200, b""))

    def test_a_killed_node_keeps_what_was_complete_and_nothing_else(self):
        state = tempfile.mkdtemp(prefix="edge-cache-")
        self.addCleanup(shutil.rmtree, state, True)
        large = os.urandom(1 << 20)
        with Node("run", product("StoreWorker"), state=state) as node:
            self.put("http://zone/small", node=node, cache_control="max-age=600")
            self.put("http://zone/large", large, node=node, cache_control="max-age=600")
            # One that never comes to its end.
            half = node.connect()
            half.sendall(b"POST /cache?url=http%3A%2F%2Fzone%2Fhalf HTTP/1.1\r\nHost: x\r\nx-put-cache-control: max-age=600\r\n"
                         b"Content-Length: 1000000\r\n\r\n" + large[:500000])
            tmp = f"{state}/local/cache/tmp"
            wait_until(lambda: os.listdir(tmp), what="a part of the body on disk")
            node.kill()
            half.close()
        with Node("run", product("StoreWorker"), state=state) as node:
            self.assertEqual(self.match("http://zone/small", node=node).body, b"0123456789")
            self.assertEqual(self.match("http://zone/large", node=node).body, large)
            self.assertEqual(self.match("http://zone/half", node=node).status, 404)
            self.assertEqual(os.listdir(tmp), [])


    def test_kills_in_the_middle_of_writing_leave_whole_responses(self):
        state = tempfile.mkdtemp(prefix="edge-cache-")
        self.addCleanup(shutil.rmtree, state, True)
        urls = [f"http://zone/kill/{number}" for number in range(8)]
        found = 0
        for _ in range(4):
            with Node("run", product("StoreWorker"), state=state) as node:
                for url in urls:
                    answer = self.match(url, node=node)
                    if answer.status == 200:
                        found += 1
                        self.assertEqual(len(answer.body), int(answer.header("x-size")), url)
                        self.assertEqual(len(set(answer.body)), 1, url)
                written = threading.Semaphore(0)

                def write(number):
                    try:
                        for step in range(1000):
                            size = (1000, 300_000, 2_000_000)[(number + step) % 3]
                            self.put(urls[number], bytes([65 + step % 26]) * size, node=node, cache_control="max-age=600",
                                     x_size=str(size))
                            written.release()
                    except OSError:
                        pass  # The node is dead.
                    except http.client.HTTPException:
                        pass

                threads = [threading.Thread(target=write, args=(number,)) for number in range(len(urls))]
                for thread in threads:
                    thread.start()
                for _ in range(30):
                    self.assertTrue(written.acquire(timeout=30))
                node.kill()
                for thread in threads:
                    thread.join(30)
        self.assertGreater(found, 0)


class Evictions(unittest.TestCase):
    """A cache that is far too small for what is put into it, on a node that is killed again and again."""

    DISK = 2 << 20

    def test_kills_among_evictions_leave_whole_responses_and_a_bounded_disk(self):
        environment = f'format = 1\ncache = {{ disk = "{self.DISK}B", memory = "1MiB" }}\n'
        shape = ZONES.replace('"a.test/*", "api.a.test/*", "b.test/*"', '"a.test/*"')
        found = evicted = 0
        with Project(shape, {"dev": environment}) as project:
            for turn in range(4):
                with project.dev("--no-watch") as node:
                    cache = os.path.join(project.path("state"), "t", "cache")
                    self.assertLess(self.disk(cache), 2 * self.DISK)
                    for number in range(60):
                        answer = node.request("GET", self.path(number), None, {"Host": "a.test"})
                        if answer.status == 404:
                            evicted += turn > 0
                            continue
                        found += 1
                        self.assertEqual(answer.status, 200)
                        self.assertEqual(len(answer.body), int(answer.header("x-size")))
                        self.assertEqual(set(answer.body), {65 + number % 26})
                    written = threading.Semaphore(0)

                    def write(start):
                        try:
                            for number in range(start, 10_000, 4):
                                size = (2_000, 50_000, 300_000)[number % 3]
                                node.request("POST", self.path(number % 60), bytes([65 + number % 60 % 26]) * size, {
                                    "Host": "a.test", "x-put-cache-control": "max-age=600", "x-put-x-size": str(size)})
                                written.release()
                        except (OSError, http.client.HTTPException):
                            pass  # The node is dead.

                    threads = [threading.Thread(target=write, args=(start,)) for start in range(4)]
                    for thread in threads:
                        thread.start()
                    for _ in range(80 + 17 * turn):
                        self.assertTrue(written.acquire(timeout=30))
                    node.kill()
                    for thread in threads:
                        thread.join(30)
        self.assertGreater(found, 0)
        self.assertGreater(evicted, 0)

    @staticmethod
    def path(number):
        return f"/cache?url=http%3A%2F%2Fzone%2F{number}"

    @staticmethod
    def disk(directory):
        return sum(
            os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(directory) for name in names)


class AroundFetch(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.origin = start_origin()
        cls.node = Node("run", product("StoreWorker"), "--allow-private").start()

    @classmethod
    def tearDownClass(cls):
        cls.node.__exit__()
        cls.origin.shutdown()
        cls.origin.server_close()

    def setUp(self):
        self.path = "/" + self.id().rsplit(".", 1)[1]
        self.origin.asked.clear()

    def plan(self, status=200, body=b"body", suffix=".css", **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.origin.plan[self.path + suffix] = (status, headers, body)

    def fetch(self, suffix=".css", query="", method="GET", **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.node.request(
            method, f"/fetch?url={quote(self.origin.url + self.path + suffix, safe='')}{query}", headers=headers)

    def statuses(self, count, *arguments, **keywords):
        return [self.fetch(*arguments, **keywords).header("cf-cache-status") for _ in range(count)]

    def test_probe_15_by_extension(self):
        self.assertEqual(self.statuses(2, ".json"), ["DYNAMIC", "DYNAMIC"])
        self.assertEqual(len(self.origin.asked), 2)
        first, second = self.fetch(), self.fetch()
        self.assertEqual((first.header("cf-cache-status"), first.header("age")), ("MISS", None))
        self.assertEqual((second.header("cf-cache-status"), second.body), ("HIT", b"body"))
        self.assertRegex(second.header("age"), r"^\d$")
        self.assertEqual(len(self.origin.asked), 3)
        self.assertEqual(self.statuses(2, ".json", "&everything=1"), ["MISS", "HIT"])
        # The cache of fetch is the zone's.
        found = self.node.get(f"/cache?url={quote(self.origin.url + self.path + '.css', safe='')}")
        self.assertEqual((found.status, found.body), (200, b"body"))

    def test_what_is_stored_answers_ranges_conditions_and_HEAD(self):
        self.plan(body=b"0123456789", etag='"v1"')
        self.fetch()
        part = self.fetch(range="bytes=2-4")
        self.assertEqual((part.status, part.body, part.header("content-range")), (206, b"234", "bytes 2-4/10"))
        self.assertEqual(self.fetch(if_none_match='"v1"').status, 304)
        head = self.fetch(query="&method=HEAD")
        self.assertEqual((head.header("cf-cache-status"), head.body), ("HIT", b""))
        self.assertEqual(len(self.origin.asked), 1)

    def test_what_passes_by(self):
        for number, headers in enumerate([
            {"cache_control": "private"}, {"cache_control": "no-store"}, {"cache_control": "no-cache"},
            {"cache_control": "max-age=0"}, {"set_cookie": "a=1"}]):
            suffix = f"{number}.css"
            self.plan(suffix=suffix, **headers)
            self.assertEqual(self.statuses(2, suffix), ["BYPASS", "BYPASS"], headers)
        self.plan(500)
        self.assertEqual(self.statuses(2), ["MISS", "MISS"])
        # With credentials, only what says that it is for all.
        self.plan(suffix="-a.css")
        self.assertEqual(self.statuses(2, "-a.css", authorization="Bearer x"), ["BYPASS", "BYPASS"])
        self.plan(suffix="-p.css", cache_control="public, max-age=60")
        self.assertEqual(self.statuses(2, "-p.css", authorization="Bearer x"), ["MISS", "HIT"])
        # What was kept for nobody in particular isn't given to somebody in particular.
        self.assertEqual(self.statuses(1, "-a.css"), ["MISS"])
        self.assertEqual(self.statuses(1, "-a.css", authorization="Bearer x"), ["BYPASS"])

    def test_options(self):
        self.plan(cache_control="no-store")
        self.assertEqual(self.statuses(2, query="&ttl=60"), ["MISS", "HIT"])
        self.assertEqual(self.statuses(1, query="&ttl=60&key=other"), ["MISS"])
        self.assertEqual(self.statuses(1, ".css?other", query="&ttl=60&key=other"), ["HIT"])
        self.plan(suffix="-m.css")
        self.assertEqual(self.statuses(2, "-m.css"), ["MISS", "HIT"])
        self.assertEqual(self.statuses(1, "-m.css", "&mode=1"), ["BYPASS"])
        self.assertEqual(self.statuses(1, "-m.css", "&mode=3"), ["EXPIRED"])
        self.assertEqual(self.statuses(1, "-m.css"), ["HIT"])
        refused = self.fetch(query="&ttl=60&mode=1")
        self.assertEqual(refused.status, 500)
        self.assertIn("CacheTtl: 60, is not compatible with cache: no-store header.", refused.text)

    def test_redirects_are_not_mixed_up(self):
        self.plan(301, suffix="-r.css", location=self.path + "-t.css")
        self.plan(body=b"target", suffix="-t.css")
        manual = "&redirect=manual"
        self.assertEqual([self.fetch("-r.css", manual).status for _ in range(2)], [301, 301])
        self.assertEqual(len(self.origin.asked), 1)
        self.assertEqual([self.fetch("-r.css").body for _ in range(2)], [b"target", b"target"])
        self.assertEqual(self.fetch("-r.css", manual).status, 301)

    def test_variants(self):
        self.plan(cache_control="max-age=60", vary="Accept-Language")
        self.assertEqual(self.statuses(2, accept_language="de"), ["MISS", "HIT"])
        self.assertEqual(self.statuses(2, accept_language="en"), ["MISS", "HIT"])
        self.assertEqual(self.statuses(1, accept_language="de"), ["HIT"])

    def test_what_is_stale_is_asked_after(self):
        def validated(request):
            if request.headers.get("If-None-Match") == '"v1"':
                return 304, {"ETag": '"v1"', "Cache-Control": "max-age=60", "x-new": "1"}, b""
            return 200, {"ETag": '"v1"', "Cache-Control": "max-age=1"}, b"validated"
        self.origin.plan[self.path + ".css"] = validated
        self.assertEqual(self.statuses(1), ["MISS"])
        wait_until(lambda: self.fetch().header("cf-cache-status") == "REVALIDATED", what="the end of its time")
        found = self.fetch()
        self.assertEqual((found.header("cf-cache-status"), found.header("x-new"), found.body), ("HIT", "1", b"validated"))
        self.assertEqual(len(self.origin.asked), 2)

    def test_stale_while_revalidate_and_if_error(self):
        self.plan(body=b"old", cache_control="max-age=1, stale-while-revalidate=600")
        self.fetch()
        gate = threading.Event()
        self.plan(body=b"new", cache_control="max-age=600", gate=gate)
        wait_until(lambda: self.fetch().header("cf-cache-status") == "UPDATING", what="the end of its time")
        self.assertEqual(self.fetch().body, b"old")
        gate.set()
        wait_until(lambda: self.fetch().body == b"new", what="what was asked for behind the client's back")
        self.assertEqual(len(self.origin.asked), 2)
        self.plan(body=b"good", suffix="-e.css", cache_control="max-age=1, stale-if-error=600")
        self.fetch("-e.css")
        self.plan(503, b"bad", suffix="-e.css")
        wait_until(lambda: self.fetch("-e.css").header("cf-cache-status") == "STALE", what="the end of its time")
        self.assertEqual((self.fetch("-e.css").status, self.fetch("-e.css").body), (200, b"good"))

    def test_one_fill_for_many_waiters(self):
        gate = threading.Event()
        self.plan(body=b"x" * 200_000, gate=gate)
        before = self.node.status()["requests"]
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(self.fetch())) for _ in range(12)]
        for thread in threads:
            thread.start()
        wait_until(lambda: self.origin.asked, what="the first request")
        wait_until(lambda: self.node.status()["requests"] >= before + 12, what="the others")
        gate.set()
        for thread in threads:
            thread.join(30)
        self.assertEqual({answer.body for answer in answers}, {b"x" * 200_000})
        self.assertEqual(len(self.origin.asked), 1)
        self.assertEqual(sorted({answer.header("cf-cache-status") for answer in answers}), ["HIT", "MISS"])

    def test_waiters_go_on_their_own_when_nothing_can_be_kept(self):
        gate = threading.Event()
        self.plan(cache_control="no-store", gate=gate)
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(self.fetch())) for _ in range(6)]
        for thread in threads:
            thread.start()
        wait_until(lambda: self.origin.asked, what="the first request")
        gate.set()
        for thread in threads:
            thread.join(30)
        self.assertEqual([answer.header("cf-cache-status") for answer in answers], ["BYPASS"] * 6)
        self.assertEqual(len(self.origin.asked), 6)

    def purge(self, body, zone="local", method="POST"):
        return Rest(self.node).ask(method, f"/zones/{zone}/purge_cache", body)

    def test_purges(self):
        url = self.origin.url + self.path
        host = url.removeprefix("http://").partition("/")[0]
        self.plan(cache_tag="red, blue")
        [account] = [account["id"] for account in Rest(self.node).result("GET", "/accounts")]
        for body in ['{"purge_everything":true}', f'{{"files":["{url}.css#x"]}}', f'{{"files":[{{"url":"{url}.css"}}]}}',
                     '{"tags":["RED"]}', f'{{"hosts":["{host}"]}}', f'{{"prefixes":["{host}{self.path}.css"]}}']:
            self.assertEqual(self.statuses(2), ["MISS", "HIT"], body)
            self.assertEqual(self.purge('{"tags":["green"]}').status, 200)
            self.assertEqual(self.statuses(1), ["HIT"])
            answer = self.purge(body)
            self.assertEqual((answer.status, answer.json()["success"], answer.json()["result"]), (200, True, {"id": account}))
        self.assertEqual(self.statuses(2, query="&tags=own"), ["MISS", "HIT"])
        self.purge('{"tags":["own"]}')
        self.assertEqual(self.statuses(1), ["MISS"])
        for arguments, status, code in [
            (("{}",), 400, 1012), (("{",), 400, 6007), (('{"files":["x"]}',), 400, 1016),
            (('{"prefixes":["http://x/"]}',), 400, 1017), (('{"purge_everything":true}', "nobody"), 403, 10000),
            (('{"tags":"red"}',), 400, 10026), ((None, "local", "GET"), 405, 7001)]:
            answer = self.purge(*arguments)
            self.assertEqual((answer.status, answer.json()["errors"][0]["code"]), (status, code), arguments)
        # Not without a token, and not on the public side.
        stranger = Rest(self.node).ask("POST", "/zones/local/purge_cache", '{"purge_everything":true}', token="x" * 40)
        self.assertEqual(stranger.status, 401)
        public = self.node.request("POST", "/client/v4/zones/local/purge_cache", '{"purge_everything":true}')
        self.assertEqual(public.status, 404)


SHAPE = """format = 1
tenant = "t"
compatibility_date = "2026-08-01"
[workers.front]
product = "StoreWorker"
routes = ["{domain}/*"]
r2 = [{ binding = "R2", resource = "files" }]
cache = { enabled = true, ttl = "60s", rules = [
    { path = "/counted/never/*", bypass = true }, { path = "/counted/zero", ttl = "0s" } ] }
"""


class InFrontOfWorkers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.project = Project(SHAPE, {"dev": "format = 1\n"})
        cls.node = cls.project.dev().start()

    @classmethod
    def tearDownClass(cls):
        cls.node.__exit__()
        cls.project.__exit__()

    def get(self, path, method="GET", **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.node.request(method, "/counted/" + path, headers=headers)

    def both(self, *arguments, **keywords):
        """The statuses of two requests, and whether the second one reached the worker."""
        first, second = self.get(*arguments, **keywords), self.get(*arguments, **keywords)
        return (first.header("cf-cache-status"), second.header("cf-cache-status"), first.body != second.body)

    def test_the_second_request_reaches_no_worker(self):
        self.assertEqual(self.both("plain"), ("MISS", "HIT", False))
        self.assertRegex(self.get("plain").header("age"), r"^\d$")
        self.assertEqual(self.get("plain", method="HEAD").header("cf-cache-status"), "HIT")
        self.assertEqual(self.get("plain", range="bytes=0-0").status, 206)
        self.assertEqual(self.both("plain?other"), ("MISS", "HIT", False))

    def test_one_connection_goes_on_behind_a_hit(self):
        self.get("kept")
        request = f"GET /counted/kept HTTP/1.1\r\nHost: 127.0.0.1:{self.node.port}\r\n\r\n".encode()
        last = request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        answers = self.node.raw(request + request.replace(b"GET", b"HEAD") + request + last)
        self.assertEqual(answers.count(b"CF-Cache-Status: HIT"), 4, answers)
        self.assertEqual(answers.count(b"HTTP/1.1 200"), 4, answers)

    def test_large_answers_come_out_of_a_file(self):
        body = os.urandom(1 << 20)
        self.node.request("PUT", "/r2/large", body)
        get = lambda **headers: self.node.get("/r2-cached/large", headers=headers)
        self.assertEqual([get().header("cf-cache-status"), get().header("cf-cache-status")], ["MISS", "HIT"])
        self.assertEqual(get().body, body)
        self.assertEqual(get(Range="bytes=500000-500009").body, body[500000:500010])

    def test_a_client_that_leaves_holds_nobody_up(self):
        path = "/counted/left"
        with self.node.connect() as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.node.port}\r\nx-pieces: 400\r\n\r\n".encode())
            self.assertTrue(client.recv(100))
        self.assertEqual(self.get("left").status, 200)
        wait_until(lambda: self.get("left").header("cf-cache-status") == "HIT", what="a whole answer")

    def test_long_answers_without_a_length(self):
        first, second = [self.get("long", x_pieces="40") for _ in range(2)]
        self.assertEqual(first.header("cf-cache-status"), "MISS")
        self.assertEqual((second.header("cf-cache-status"), second.header("content-length")), ("HIT", str(40 << 16)))
        self.assertEqual(first.body, second.body)

    def test_each_client_has_its_own_coding(self):
        def ask(method="GET", **headers):
            return self.get("coded", method, x_pieces="4", x_put_etag='"tag"', **headers)
        zipped, again, plain, brotli = [
            ask(**headers) for headers in ({"accept_encoding": "gzip"}, {"accept_encoding": "gzip"}, {}, {"accept_encoding": "br"})]
        answers = (zipped, again, plain, brotli)
        self.assertEqual([answer.header("cf-cache-status") for answer in answers], ["MISS", "HIT", "HIT", "HIT"])
        self.assertEqual([answer.header("content-encoding") for answer in answers], ["gzip", "gzip", None, "br"])
        self.assertEqual([answer.header("vary") for answer in answers], ["Accept-Encoding"] * 4)
        self.assertEqual([answer.header("etag") for answer in answers], ['W/"tag"', 'W/"tag"', '"tag"', 'W/"tag"'])
        self.assertEqual([answer.header("content-length") for answer in answers], [None, None, str(4 << 16), None])
        self.assertEqual(plain.body, b"x" * (4 << 16))
        self.assertEqual((gzip.decompress(zipped.body), gzip.decompress(again.body)), (plain.body, plain.body))
        head = ask("HEAD", accept_encoding="gzip")
        self.assertEqual((head.header("content-encoding"), head.header("content-length")), ("gzip", None))
        part = ask(accept_encoding="gzip", range="bytes=0-9")
        self.assertEqual((part.status, part.header("content-encoding"), part.body), (206, None, b"x" * 10))
        self.assertEqual(ask(accept_encoding="gzip", if_none_match='W/"tag"').status, 304)

    def test_what_the_worker_wants_as_it_is_stays_so(self):
        for path, headers, coding in (
                ("manual", {"x_manual": "1"}, None), ("own", {"x_put_content_encoding": "gzip"}, "gzip"),
                ("fixed", {"x_put_cache_control": "max-age=60, no-transform"}, None)):
            answers = [self.get(path, x_pieces="1", accept_encoding="gzip", **headers) for _ in range(2)]
            self.assertEqual([answer.header("cf-cache-status") for answer in answers], ["MISS", "HIT"], path)
            self.assertEqual([answer.header("content-encoding") for answer in answers], [coding] * 2, path)
            self.assertEqual([len(answer.body) for answer in answers], [64 << 10] * 2, path)

    def test_the_worker_decides(self):
        for number, (control, expected) in enumerate([
            ("max-age=60", ("MISS", "HIT", False)), ("no-store", ("BYPASS", "BYPASS", True)),
            ("private", ("BYPASS", "BYPASS", True)), ("max-age=0", ("BYPASS", "BYPASS", True))]):
            self.assertEqual(self.both(f"c{number}", x_put_cache_control=control), expected, control)
        self.assertEqual(self.both("cookie", x_put_set_cookie="a=1"), ("BYPASS", "BYPASS", True))
        self.assertEqual(self.both("error?status=500"), ("DYNAMIC", "DYNAMIC", True))
        self.assertEqual(self.both("missing?status=404"), ("MISS", "HIT", False))

    def test_requests_that_are_somebodys(self):
        self.assertEqual(self.both("auth", authorization="Bearer x"), ("BYPASS", "BYPASS", True))
        self.assertEqual(self.both("cookies", cookie="a=1"), ("DYNAMIC", "DYNAMIC", True))
        self.assertEqual(self.both("public", authorization="x", x_put_cache_control="public, max-age=60"), ("MISS", "HIT", False))

    def test_rules_by_path(self):
        self.assertEqual(self.both("never/a", x_put_cache_control="max-age=60"), ("DYNAMIC", "DYNAMIC", True))
        self.assertEqual(self.both("zero"), ("DYNAMIC", "DYNAMIC", True))
        self.assertEqual(self.both("zero", x_put_cache_control="max-age=60"), ("MISS", "HIT", False))

    def test_vary(self):
        vary = {"x_put_vary": "Accept-Language", "x_put_cache_control": "max-age=60"}
        self.assertEqual(self.both("vary", accept_language="de", **vary), ("MISS", "HIT", False))
        self.assertEqual(self.both("vary", accept_language="en", **vary), ("MISS", "HIT", False))

    def test_stale_if_error(self):
        for failure in ("503", "throw"):
            path = "stale-" + failure
            first = self.get(path, x_put_cache_control="max-age=1, stale-if-error=600")
            self.assertEqual((first.status, first.header("cf-cache-status")), (200, "MISS"))
            wait_until(lambda: self.get(path, x_status=failure).header("cf-cache-status") == "STALE", what="the end of its time")
            stale = self.get(path, x_status=failure)
            self.assertEqual((stale.status, stale.body), (200, first.body))
            long = self.get(path, x_status="503", x_pieces="40")
            self.assertEqual((long.status, long.body), (200, first.body))
            renewed = self.get(path)
            self.assertEqual((renewed.status, renewed.header("cf-cache-status")), (200, "EXPIRED"))

    def test_stale_while_revalidate(self):
        first = self.get("swr", x_put_cache_control="max-age=1, stale-while-revalidate=600")
        answers = []

        def is_updating():
            # The first answer that is too old is what has the page made anew, with this request's wish.
            answers.append(self.get("swr", x_put_cache_control="max-age=600"))
            return answers[-1].header("cf-cache-status") == "UPDATING"

        wait_until(is_updating, what="the end of its time")
        self.assertEqual(answers[-1].body, first.body)
        wait_until(lambda: self.get("swr").body != first.body, what="the new one")
        self.assertEqual(self.get("swr").header("cf-cache-status"), "HIT")

    def test_one_of_many_reaches_the_worker(self):
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(self.get("crowd?wait=500"))) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        self.assertEqual(len({answer.body for answer in answers}), 1, [answer.body for answer in answers])
        self.assertEqual([answer.header("cf-cache-status") for answer in answers].count("MISS"), 1)

    def test_a_new_version_starts_with_nothing(self):
        with Project(SHAPE, {"dev": "format = 1\n"}) as project, project.dev() as node:
            get = lambda: node.get("/counted/version").header("cf-cache-status")
            self.assertEqual([get(), get()], ["MISS", "HIT"])
            project.edit("wrangler-like.toml", "[workers.front]", "[workers.front]\nvars = { A = 1 }")
            wait_until(lambda: get() == "MISS", what="the new version")
            project.edit("wrangler-like.toml", 'ttl = "60s"', 'ttl = "60s", cross_version = true')
            wait_until(lambda: get() == "MISS", what="the shared key")
            before = node.status()["workers"][0]["version"]
            project.edit("wrangler-like.toml", "A = 1", "A = 2")
            wait_until(lambda: node.status()["workers"][0]["version"] != before, what="another version")
            self.assertEqual(get(), "HIT")


ZONES = SHAPE.replace('routes = ["{domain}/*"]', 'routes = ["a.test/*", "api.a.test/*", "b.test/*"]').replace(
    "rules = [", 'rules = [{ path = "/cache", bypass = true }, ')


class Zones(unittest.TestCase):
    """Hosts of one registered domain share `cache.default`, its purges and its figures; those of another don't."""

    @classmethod
    def setUpClass(cls):
        cls.project = Project(ZONES, {"dev": "format = 1\n"})
        cls.node = cls.project.dev().start()

    @classmethod
    def tearDownClass(cls):
        cls.node.__exit__()
        cls.project.__exit__()

    def ask(self, host, method="GET", path="/cache?url=http%3A%2F%2Fx%2F1", body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.node.request(method, path, body, {"Host": host, **headers})

    def purge(self, zone, body='{"purge_everything":true}'):
        return Rest(self.node).ask("POST", f"/zones/{zone}/purge_cache", body)

    def zone_ids(self):
        return {zone["name"]: zone["id"] for zone in Rest(self.node).result("GET", "/zones")}

    def put(self, host):
        self.assertEqual(self.ask(host, "POST", body=host.encode(), x_put_cache_control="max-age=600").text, "stored")

    def found(self):
        return [answer.text if answer.status == 200 else None
                for answer in (self.ask(host) for host in ("a.test", "api.a.test", "b.test"))]

    def test_the_default_cache_is_the_zones(self):
        self.put("a.test")
        self.assertEqual(self.found(), ["a.test", "a.test", None])
        self.put("b.test")
        self.assertEqual(self.found(), ["a.test", "a.test", "b.test"])
        self.put("api.a.test")
        self.assertEqual(self.found(), ["api.a.test", "api.a.test", "b.test"])

    def test_a_purge_of_one_zone_leaves_the_others(self):
        self.put("a.test")
        self.put("b.test")
        path = "/counted/purged"
        for host in ("a.test", "b.test"):
            self.assertEqual([self.ask(host, path=path).header("cf-cache-status") for _ in range(2)], ["MISS", "HIT"])
        answer = self.purge("b.test")
        self.assertEqual((answer.status, answer.json()["result"]), (200, {"id": self.zone_ids()["b.test"]}))
        # An id is as good as a name.
        self.put("b.test")
        self.assertEqual(self.purge(self.zone_ids()["b.test"]).status, 200)
        self.assertEqual(self.found(), ["a.test", "a.test", None])
        self.assertEqual([self.ask(host, path=path).header("cf-cache-status") for host in ("a.test", "b.test")], ["HIT", "MISS"])
        self.assertEqual(self.purge("api.a.test").status, 403)
        self.assertEqual(self.purge("t").status, 200)
        self.assertEqual(self.found(), [None, None, None])

    def test_figures_of_each_zone(self):
        def figure(name, zone, **labels):
            text = self.node.request("GET", "/metrics", port=self.node.control_port).text
            wanted = ",".join([f'tenant="t",zone="{zone}"', *(f'{key}="{value}"' for key, value in labels.items())])
            line = f"{name}{{{wanted}}} "
            return sum(int(found.removeprefix(line)) for found in text.splitlines() if found.startswith(line))

        def all_of(zone):
            answers = [figure("edge_cache_responses_total", zone, status=status) for status in ("hit", "miss", "bypass")]
            return [*answers, figure("edge_cache_entries", zone), figure("edge_cache_evictions_total", zone)]

        before, other = all_of("a.test"), all_of("b.test")
        bytes_before = figure("edge_cache_bytes", "a.test")
        for _ in range(3):
            self.ask("api.a.test", path="/counted/figures")
        self.ask("a.test", path="/counted/none", x_put_cache_control="no-store")
        wait_until(lambda: figure("edge_cache_entries", "a.test") == before[3] + 1, what="the entry")
        after = all_of("a.test")
        self.assertEqual([now - then for now, then in zip(after, before)], [2, 1, 1, 1, 0])
        self.assertGreater(figure("edge_cache_bytes", "a.test"), bytes_before)
        self.assertEqual(all_of("b.test"), other)


if __name__ == "__main__":
    unittest.main()
