"""Requests between versions and releases: splits, affinity, overrides, previews, drains."""

import hashlib
import http.client
import re
import threading
import unittest

from harness import Node, edge, is_alive, product, wait_until
from projects import Project
from rest import Rest
from test_deploy_cli import DEPLOY, HEAD, HOST, Platform, environment
from test_scripts_api import code, form

KEY = "Cloudflare-Workers-Version-Key"
OVERRIDES = "Cloudflare-Workers-Version-Overrides"


class Case(unittest.TestCase):
    """Workers of the API, whose versions differ in the variable X."""

    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node("run", product("HelloWorker"), "--no-log-requests", *cls.options))
        cls.rest = Rest(cls.node)

    options = ()

    def upload(self, name, value, *bindings, deploys=True, alias=None, status=200):
        metadata = {"main_module": "worker",
                    "bindings": [{"type": "plain_text", "name": "X", "text": value}, *bindings],
                    "annotations": {"workers/alias": alias} if alias else {}}
        body, content_type = form(metadata, ("worker", code()))
        path = f"workers/scripts/{name}" + ("" if deploys else "/versions")
        answer = self.rest.ask("PUT" if deploys else "POST", path, body, Content_Type=content_type)
        self.assertEqual(answer.status, status, answer.text)
        if status != 200:
            return answer.json()["errors"][0]["message"]
        versions = self.rest.result("GET", f"workers/scripts/{name}/versions")["items"]
        return versions[0]["id"]

    def deploy(self, name, **shares):
        """Shares by version, as keyword arguments can't have them: with underscores for dashes."""
        self.rest.result("POST", f"workers/scripts/{name}/deployments", {
            "strategy": "percentage",
            "versions": [{"version_id": id.replace("_", "-"), "percentage": share} for id, share in shares.items()]})

    def shares(self, name, pairs):
        self.rest.result("POST", f"workers/scripts/{name}/deployments", {
            "strategy": "percentage",
            "versions": [{"version_id": id, "percentage": share} for id, share in pairs]})

    def get(self, name, path="/variable/X", **headers):
        return self.node.get(path, host=f"{name}.local.localhost",
                             headers={key.replace("_", "-"): value for key, value in headers.items()})

    def served(self, name, **headers):
        answer = self.get(name, **headers)
        self.assertEqual(answer.status, 200, answer.text)
        return answer.text


class Splits(Case):
    def setUp(self):
        self.name = re.sub("[^a-z]", "", self.id().rsplit(".", 1)[1].lower())[-40:]
        self.old = self.upload(self.name, "old")
        self.new = self.upload(self.name, "new", deploys=False)

    def test_a_cookie_keeps_a_client_where_it_is(self):
        answer = self.get(self.name)
        self.assertIsNone(answer.header("Set-Cookie"))
        self.shares(self.name, [(self.old, 50), (self.new, 50)])
        first = self.get(self.name)
        cookie = first.header("Set-Cookie")
        self.assertRegex(cookie, r"^__edge_slot=[0-9a-f]{32}; Path=/; HttpOnly; SameSite=Lax$")
        seen = set()
        for _ in range(12):
            answer = self.get(self.name)
            name = answer.header("Set-Cookie").split(";")[0]
            seen.add(answer.text)
            for _ in range(10):
                again = self.get(self.name, Cookie=f"a=b; {name}; c=d")
                self.assertEqual(again.text, answer.text)
                self.assertIsNone(again.header("Set-Cookie"))
            # The key comes before the cookie, and a request with one gets none.
            keyed = self.get(self.name, Cookie=name, Cloudflare_Workers_Version_Key="user-1")
            self.assertEqual(keyed.text, self.served(self.name, Cloudflare_Workers_Version_Key="user-1"))
            self.assertIsNone(self.get(self.name, Cloudflare_Workers_Version_Key="user-1").header("Set-Cookie"))
        self.assertEqual(seen, {"old", "new"})
        self.shares(self.name, [(self.new, 100)])
        self.assertIsNone(self.get(self.name).header("Set-Cookie"))

    def test_probe_4_an_override_reaches_a_version_without_a_share(self):
        self.shares(self.name, [(self.old, 100), (self.new, 0)])
        self.assertEqual(self.served(self.name), "old")
        self.assertIsNone(self.get(self.name).header("Set-Cookie"))
        self.assertEqual(self.served(self.name, **{OVERRIDES: f'{self.name}="{self.new}"'}), "new")
        self.assertEqual(self.served(self.name, **{OVERRIDES: f'other="{self.old}", {self.name}="{self.new}"'}), "new")
        for text in [f'{self.name}="00000000-0000-4000-8000-000000000000"', f"{self.name}={self.new}", f'{self.name}="',
                     f'"{self.new}"', ",", "", f'{self.name}="{self.new}" x']:
            self.assertEqual(self.served(self.name, **{OVERRIDES: text}), "old", text)
        # Which isn't deployed any more.
        self.shares(self.name, [(self.old, 100)])
        self.assertEqual(self.served(self.name, **{OVERRIDES: f'{self.name}="{self.new}"'}), "old")

    def test_probe_5_the_share_of_keys_on_the_new_version_only_grows(self):
        keys = [f"client-{number}" for number in range(1000)]
        before = set()
        for percent in (10, 25, 50):
            self.shares(self.name, [(self.old, 100 - percent), (self.new, percent)])
            now = {key for key in keys if self.served(self.name, **{KEY: key}) == "new"}
            self.assertLessEqual(before, now)
            self.assertLess(abs(len(now) / 10 - percent), 3, (len(now), percent))
            before = now

    def test_answers_name_their_release(self):
        first = self.get(self.name).header("Edge-Release")
        self.assertRegex(first, r"^[1-9][0-9]*$")
        self.assertEqual(self.get(self.name, path="/nothing").header("Edge-Release"), first)
        self.shares(self.name, [(self.new, 100)])
        self.assertGreater(int(self.get(self.name).header("Edge-Release")), int(first))


class SkewProtection(Case):
    seconds = 60

    def test_probe_2_a_request_and_what_it_calls_are_of_one_release(self):
        """Both workers get a second version at once; a request that is in the new half calls the new version."""
        callee = [self.upload("callee", "old")]
        service = {"type": "service", "name": "SERVICE", "service": "callee"}
        caller = [self.upload("caller", "old", service)]
        callee.append(self.upload("callee", "new", deploys=False))
        caller.append(self.upload("caller", "new", service, deploys=False))
        self.shares("callee", [(callee[0], 50), (callee[1], 50)])
        self.shares("caller", [(caller[0], 50), (caller[1], 50)])
        keys = [f"k{number}" for number in range(40)]
        own = {key: self.served("caller", **{KEY: key}) for key in keys}
        self.assertEqual(set(own.values()), {"old", "new"})
        connection = http.client.HTTPConnection("127.0.0.1", self.node.port, timeout=60)
        self.addCleanup(connection.close)
        seen = {"old": 0, "new": 0}
        for number in range(10_000):
            key = keys[number % len(keys)]
            connection.request("GET", "/service/variable/X", headers={"Host": "caller.local.localhost", KEY: key})
            answer = connection.getresponse()
            text = answer.read().decode()
            self.assertEqual((answer.status, text), (200, own[key]), key)
            seen[text] += 1
        self.assertGreater(min(seen.values()), 1000)


class Previews(Case):
    def preview(self, label, path="/variable/X"):
        return self.node.get(path, host=f"{label}.preview.local.localhost")

    def test_probe_27_an_alias_serves_a_version_without_traffic(self):
        self.upload("shown", "live")
        self.assertIn("Fix_1", self.upload("shown", "x", deploys=False, alias="Fix_1", status=400))
        self.assertIn("63", self.upload("shown", "x", deploys=False, alias="a" * 58, status=400))
        for alias in ["1a", "-a", "ä"]:
            self.upload("shown", "x", deploys=False, alias=alias, status=400)
        version = self.upload("shown", "preview", deploys=False, alias="fix-1")
        self.assertEqual(self.preview("fix-1-shown").text, "preview")
        self.assertEqual(self.preview(f"{version[:8]}-shown").text, "preview")
        self.assertEqual(self.served("shown"), "live")
        for label in ["fix-2-shown", "00000000-shown", "shown", "fix-1", "fix-1-unheard"]:
            self.assertEqual(self.preview(label).status, 404, label)
        # The alias moves with an upload; the version's own name stays.
        self.upload("shown", "second", deploys=False, alias="fix-1")
        self.assertEqual(self.preview("fix-1-shown").text, "second")
        self.assertEqual(self.preview(f"{version[:8]}-shown").text, "preview")
        self.assertEqual(self.preview("FIX-1-Shown").text, "second")

    def test_a_preview_calls_the_release_in_service(self):
        self.upload("behind", "behind")
        service = {"type": "service", "name": "SERVICE", "service": "behind"}
        self.upload("front", "live", service)
        self.upload("front", "new", service, deploys=False, alias="next")
        self.assertEqual(self.preview("next-front", "/service/variable/X").text, "behind")
        self.upload("behind", "later")
        self.assertEqual(self.preview("next-front", "/service/variable/X").text, "later")
        # Many come at once while nothing runs.
        self.upload("front", "burst", service, deploys=False, alias="burst")
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(self.preview("burst-front").text)) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(answers, ["burst"] * 16)

    def test_previews_can_be_switched_off(self):
        self.upload("hidden", "live")
        self.upload("hidden", "new", deploys=False, alias="next")
        self.assertEqual(self.preview("next-hidden").text, "new")
        path = "workers/scripts/hidden/subdomain"
        self.rest.result("POST", path, {"enabled": True, "previews_enabled": False})
        self.assertEqual(self.preview("next-hidden").status, 404)
        self.rest.result("POST", path, {"enabled": True, "previews_enabled": True})
        self.assertEqual(self.preview("next-hidden").text, "new")

    def test_the_command_says_where_to_look(self):
        self.upload("told", "live")
        done = edge("versions", "upload", product("HelloWorker"), "--name", "told", "--preview-alias", "from-cli", "--tag", "t1",
                    "--state", self.node.state)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("preview host: from-cli-told.preview.local.localhost", done.stdout)
        # All but the code is as before.
        self.assertEqual(self.preview("from-cli-told").text, "live")
        id = re.search(r"preview host: ([0-9a-f]{8})-told", done.stdout)[1]
        self.assertEqual(self.preview(f"{id}-told").text, "live")
        done = edge("versions", "upload", product("HelloWorker"), "--name", "told", "--preview-alias", "Fix_1", "--state",
                    self.node.state)
        self.assertEqual(done.returncode, 1)
        self.assertIn("small letters", done.stderr)


SHAPE = """format = 1
tenant = "t"
compatibility_date = "2026-08-01"

[workers.front]
product = "HelloWorker"
routes = ["{domain}/*"]
vars = { X = "old" }

[workers.store]
product = "StoreWorker"
routes = ["store.localhost/*"]
kv = [{ binding = "KV", resource = "kv" }]
vars = { X = "old" }
queues.produce = [{ binding = "QUEUE", queue = "jobs" }]
queues.consume = [{ queue = "jobs", timeout = "0s", batch = 2 }]
"""
DEV = """format = 1

[deploy]
drain = "8s"
drain_streams = "3s"
"""


class Drains(unittest.TestCase):
    """Each test switches to another release while something of the old one goes on."""
    seconds = 90

    def setUp(self):
        self.project = self.enterContext(Project(SHAPE, {"dev": DEV}))
        self.node = self.enterContext(self.project.dev())
        self.old = self.node.get("/variable/X").header("Edge-Release")

    def switch(self):
        self.project.edit("wrangler-like.toml", 'X = "old"', 'X = "new"')
        wait_until(lambda: self.node.get("/variable/X").text == "new", 60, lambda: self.node.log_text()[-3000:])

    def start(self, path, **keywords):
        """A request in a thread of its own."""
        answers = []
        thread = threading.Thread(target=lambda: answers.append(self.node.get(path, **keywords)))
        thread.start()
        self.addCleanup(thread.join)
        return thread, answers

    def pass_by(self):
        """What was sent before this has been taken when these are answered."""
        for _ in range(20):
            self.assertEqual(self.node.get("/variable/X").text, "old")

    def test_probe_19_requests_in_flight_end_on_the_old_release_or_at_the_limit(self):
        short, finished = self.start("/sleep/6000", timeout=90)
        long, cut = self.start("/sleep/120000", timeout=90)
        self.pass_by()
        self.switch()
        short.join()
        self.assertEqual((finished[0].status, finished[0].text, finished[0].header("Edge-Release")),
                         (200, "slept", self.old))
        long.join()
        self.assertEqual((cut[0].status, cut[0].header("Edge-Release")), (503, self.old), cut[0].text)
        self.assertIn("release", cut[0].text)
        self.assertEqual(cut[0].header("Retry-After"), "1")
        self.node.wait_for_log("release has drained", 60)
        self.assertEqual(self.node.get("/variable/X").text, "new")

    def test_an_event_stream_is_closed_cleanly(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.node.port, timeout=90)
        self.addCleanup(connection.close)
        connection.request("GET", "/events")
        answer = connection.getresponse()
        self.assertEqual(answer.readline(), b"data: event 1\n")
        self.switch()
        # No IncompleteRead: the body has its end, and the connection goes on.
        self.assertEqual(answer.read(), b"\n")
        connection.request("GET", "/variable/X")
        again = connection.getresponse()
        self.assertEqual(again.read(), b"new")

    def test_a_download_goes_on_over_the_switch(self):
        with self.node.connect(timeout=60) as connection:
            connection.sendall(b"GET /stream/400 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            received = connection.recv(1000)
            self.switch()
            while piece := connection.recv(1 << 20):
                received += piece
        self.assertIn(f"Edge-Release: {self.old}\r\n".encode(), received[:1000])
        self.assertEqual(received.count(b"x" * 65536), 400)
        self.assertTrue(received.endswith(b"\r\n0\r\n\r\n"))

    def test_work_behind_an_answer_goes_on(self):
        self.assertEqual(self.node.get("/later/5000").text, "later")
        self.switch()
        self.node.wait_for_log("release has drained", 60)
        log = self.node.log_text()
        self.assertLess(log.index('later'), log.index("release has drained"), log[-2000:])

    def test_isolates_of_the_old_release_end(self):
        before = self.node.isolate_pids()
        self.switch()
        wait_until(lambda: not any(is_alive(pid) for pid in before), 120, lambda: self.node.log_text()[-3000:])

    def test_probe_21_no_message_is_lost_and_none_comes_twice(self):
        names = [f"slow-{number}" for number in range(8)]
        for name in names:
            self.assertEqual(self.node.request("POST", "/queue", body=name, host="store.localhost").status, 200)
        self.switch()

        def seen():
            return {name: self.node.get(f"/kv/seen/jobs/{name}", host="store.localhost").text for name in names}
        wait_until(lambda: all(count.isdigit() for count in seen().values()), 120, seen)
        self.assertEqual(seen(), {name: "1" for name in names})


CANARY = HEAD + """
[workers.front]
product = "HelloWorker"
routes = ["{domain}/*"]
services = [{ binding = "SERVICE", worker = "back" }]
vars = { X = "one" }

[workers.back]
product = "HelloWorker"
vars = { X = "one" }
"""
TENANT, PERCENT = "t", 20


def point(key):
    """Where a key lies on the line of 10,000, as the platform says."""
    return int.from_bytes(hashlib.sha256((TENANT + "staging" + key).encode()).digest()[:8], "big") % 10_000


class Canary(unittest.TestCase):
    """A deployment of `edge deploy` that stands at a part of the requests."""
    seconds = 120

    @classmethod
    def setUpClass(cls):
        deploy = DEPLOY + "shadow = { percent = 100 }\n"
        cls.platform = cls.enterClassContext(Platform(CANARY, {"staging": environment(deploy=deploy)}))
        cls.platform.deploy()
        cls.old = cls.get("/variable/X").header("Edge-Release")
        cls.platform.set("two")
        cls.platform.deploy("--steps", f"{PERCENT},100", "--pause-at", f"{PERCENT}", code=3)
        cls.new = str(cls.platform.status()["candidate"])

    @classmethod
    def tearDownClass(cls):
        cls.platform.edge("deploy", "abort")
        assert {cls.get("/variable/X").text for _ in range(20)} == {"one"}

    @classmethod
    def get(cls, path, **headers):
        return cls.platform.running.get(
            path, host=HOST, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def test_a_key_lies_where_the_platform_says(self):
        for number in range(300):
            key = f"user-{number}"
            answer = self.get("/variable/X", Cloudflare_Workers_Version_Key=key)
            is_new = point(key) >= 10_000 - PERCENT * 100
            self.assertEqual((answer.text, answer.header("Edge-Release")),
                             ("two", self.new) if is_new else ("one", self.old), key)
            self.assertIsNone(answer.header("Set-Cookie"))

    def test_a_cookie_keeps_clients_with_their_release(self):
        seen = set()
        for _ in range(60):
            answer = self.get("/variable/X")
            cookie = answer.header("Set-Cookie").split(";")[0]
            self.assertEqual(answer.text == "two", point(cookie.split("=")[1]) >= 10_000 - PERCENT * 100)
            for _ in range(3):
                self.assertEqual(self.get("/variable/X", Cookie=cookie).text, answer.text)
            seen.add(answer.text)
        self.assertEqual(seen, {"one", "two"})

    def test_a_request_stays_in_its_release(self):
        for number in range(200):
            key = f"user-{number}"
            own = self.get("/variable/X", Cloudflare_Workers_Version_Key=key).text
            self.assertEqual(self.get("/service/variable/X", Cloudflare_Workers_Version_Key=key).text, own)

    def test_overrides_select_a_release(self):
        for _ in range(10):
            self.assertEqual(self.get("/variable/X", Edge_Release_Override=self.new).text, "two")
            self.assertEqual(self.get("/service/variable/X", Edge_Release_Override=self.new).text, "two")
            self.assertEqual(self.get("/variable/X", Edge_Release_Override=self.old).text, "one")
        key = next(f"k{number}" for number in range(100) if point(f"k{number}") < 5000)
        for text in ["0", "999", "x", "", "-1", self.new + "x", "99999999999999999999"]:
            answer = self.get("/variable/X", Edge_Release_Override=text, Cloudflare_Workers_Version_Key=key)
            self.assertEqual((answer.status, answer.text), (200, "one"), text)
        # A version's id selects the release that has it, with all that belongs to it.
        versions = self.platform.rest().result("GET", "workers/scripts/back/versions")["items"]
        newest = max(versions, key=lambda version: version["number"])["id"]
        overrides = {OVERRIDES: f'back="{newest}"', KEY: key}
        self.assertEqual(self.get("/variable/X", **overrides).text, "two")
        self.assertEqual(self.get("/service/variable/X", **overrides).text, "two")


class LongBatch(unittest.TestCase):
    """A batch that takes longer than the drain lets it."""
    seconds = 150

    def test_probe_21_a_batch_that_is_ended_costs_no_attempt(self):
        # One attempt is all that a message has: were the drain to take it, the message would be gone.
        shape = SHAPE.replace('timeout = "0s", batch = 2', 'timeout = "2s", batch = 40, retries = 0')
        names = [f"slow-{number}" for number in range(40)]
        with Project(shape, {"dev": DEV}) as project, project.dev() as node:
            body = "\n".join(names)
            self.assertEqual(node.request("POST", "/queue-batch", body=body, host="store.localhost").status, 200)

            def seen():
                return [node.get(f"/kv/seen/jobs/{name}", host="store.localhost").text for name in names]
            wait_until(lambda: "1" in seen(), 60, seen)
            project.edit("wrangler-like.toml", 'X = "old"', 'X = "new"')
            node.wait_for_log("a batch found no isolate", 90)
            wait_until(lambda: all(count.isdigit() for count in seen()), 120, seen)


class Prober(unittest.TestCase):
    """Load over many switches: each request is answered by one release, and none fails."""
    seconds = 120

    def test_probe_1_no_request_fails_while_releases_are_switched(self):
        with Project(SHAPE, {"dev": DEV}) as project, project.dev() as node:
            stop = threading.Event()
            failures, counts = [], {}

            def probe(number):
                connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=60)
                try:
                    while not stop.is_set():
                        if number % 2:
                            # A new connection for each request.
                            connection.close()
                        connection.request("GET", "/variable/X")
                        answer = connection.getresponse()
                        text, release = answer.read().decode(), answer.getheader("Edge-Release")
                        if answer.status != 200:
                            failures.append((answer.status, text))
                        # One release has one value.
                        if counts.setdefault(release, text) != text:
                            failures.append((release, text, counts[release]))
                except Exception as error:
                    failures.append(repr(error))
                finally:
                    connection.close()
            threads = [threading.Thread(target=probe, args=(number,)) for number in range(4)]
            for thread in threads:
                thread.start()
            try:
                last = "old"
                for number in range(5):
                    project.edit("wrangler-like.toml", f'X = "{last}"', f'X = "{number}"')
                    last = str(number)
                    # Each reactor switches by itself: a first answer is not yet the word of all.
                    wait_until(
                        lambda: {node.get("/variable/X").text for _ in range(20)} == {last}, 60,
                        lambda: node.log_text()[-3000:])
            finally:
                stop.set()
                for thread in threads:
                    thread.join()
            self.assertEqual(failures[:5], [], node.log_text()[-3000:])
            self.assertGreaterEqual(len(counts), 6)


if __name__ == "__main__":
    unittest.main()
