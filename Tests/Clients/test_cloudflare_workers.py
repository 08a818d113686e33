"""The official `cloudflare` SDK against a real node: Workers, versions, deployments (spec control-plane, sections 5 to 7)."""

import collections
import concurrent.futures
import http.client
import json
import os
import tempfile
import unittest

import cloudflare

from harness import Node, product

ACCOUNT = "local"


def code(padding=0):
    with open(product("HelloWorker"), "rb") as file:
        return file.read() + b"\0" * padding


CODE = code()


class Case(unittest.TestCase):
    """What tests of Workers share."""

    @classmethod
    def connect(cls):
        with open(os.path.join(cls.node.state, "operator-token")) as file:
            cls.token = file.read().strip()
        cls.client = cloudflare.Cloudflare(
            api_token=cls.token, base_url=cls.node.control + "/client/v4", max_retries=0)
        cls.scripts = cls.client.workers.scripts

    def upload(self, name, bindings=(), content=CODE, **metadata):
        return self.scripts.update(
            name, account_id=ACCOUNT, metadata={"main_module": "worker", "bindings": list(bindings), **metadata},
            files=[("worker", content, "application/octet-stream")])

    def version(self, name, value, **metadata):
        """Uploads a version that answers with `value`, without deploying it."""
        answer = self.scripts.versions.with_raw_response.create(
            name, account_id=ACCOUNT,
            metadata={"main_module": "worker", "bindings": [{"type": "plain_text", "name": "X", "text": value}], **metadata},
            files=[("worker", CODE, "application/octet-stream")])
        self.assertEqual(answer.http_response.status_code, 200)
        return answer.http_response.json()["result"]["id"]

    def deploy(self, name, *shares, **more):
        return self.scripts.deployments.create(
            name, account_id=ACCOUNT, strategy="percentage",
            versions=[{"version_id": version, "percentage": share} for version, share in shares], **more)

    def deployed(self, name):
        answer = self.scripts.deployments.with_raw_response.list(name, account_id=ACCOUNT).http_response.json()
        return [(version["version_id"], version["percentage"]) for version in answer["result"]["deployments"][0]["versions"]]

    def ask(self, name, path="/variable/X", headers=None):
        return self.node.get(path, host=f"{name}.local.localhost", headers=headers)

    def artifacts(self):
        return set(os.listdir(os.path.join(self.node.state, "artifacts")))

    def refused(self, status, code, call, *arguments, **keywords):
        with self.assertRaises(cloudflare.APIStatusError) as caught:
            call(*arguments, **keywords)
        error = caught.exception
        self.assertEqual((error.status_code, error.errors[0].code), (status, code), error.message)
        return error.errors[0].message



class Workers(Case):
    """One node for all; each test has workers of its own names."""

    seconds = 90

    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(
            Node("run", product("HelloWorker"), "--no-log-requests", "--kv", "KV=notes", "--r2", "R2=files",
                 "--queue", "QUEUE=jobs"))
        cls.connect()

    # MARK: Uploads

    def test_probe_5_an_upload_serves(self):
        made = self.upload("hello", [{"type": "plain_text", "name": "X", "text": "1"}])
        self.assertEqual(made.id, "hello")
        self.assertGreaterEqual(made.startup_time_ms, 0)
        self.assertIn("fetch", made.handlers)
        self.assertEqual(self.ask("hello").text, "1")

    def test_probe_6_the_form_of_wrangler_is_the_same_upload(self):
        first = self.upload("formed")
        before = self.artifacts()
        boundary = "----formdata-undici-0123456789"
        metadata = json.dumps({"main_module": "worker", "bindings": [{"type": "plain_text", "name": "X", "text": "w"}]})
        body = (f'--{boundary}\r\nContent-Disposition: form-data; name="metadata"\r\n\r\n{metadata}\r\n'
                f'--{boundary}\r\nContent-Disposition: form-data; name="worker"; filename="worker"\r\n'
                f"Content-Type: application/octet-stream\r\n\r\n").encode() + CODE + f"\r\n--{boundary}--\r\n".encode()
        answer = self.node.request(
            "PUT", f"/client/v4/accounts/{ACCOUNT}/workers/scripts/formed?excludeScript=true", body,
            port=self.node.control_port, headers={
                "Authorization": f"Bearer {self.token}", "Content-Type": f"multipart/form-data; boundary={boundary}"})
        self.assertEqual(answer.status, 200, answer.text)
        self.assertEqual(answer.json()["result"]["etag"], first.etag)
        self.assertEqual(self.artifacts(), before)
        self.assertEqual(self.ask("formed").text, "w")

    def test_probe_7_bindings_are_checked_and_nothing_is_made(self):
        self.upload("checked")
        def versions():
            return [version.id for version in self.scripts.versions.list("checked", account_id=ACCOUNT)]
        before = versions()
        for binding, code in [
            ({"type": "kv_namespace", "name": "KV", "namespace_id": "0" * 32}, 10042), ({"type": "d1", "name": "DB"}, 10021),
            ({"type": "d1", "name": "DB", "id": "00000000-0000-4000-8000-000000000000"}, 10021),
            ({"type": "r2_bucket", "name": "R2", "bucket_name": "nowhere"}, 10085),
            ({"type": "queue", "name": "Q", "queue_name": "nowhere"}, 11000),
            ({"type": "service", "name": "S", "service": "nowhere"}, 10021), ({"type": "plain_text", "text": "1"}, 10052),
            ({"type": "nonsense", "name": "N"}, 10021), ({"type": "ai", "name": "AI"}, 10021),
            ({"type": "plain_text", "name": "P", "text": "x" * 6000}, 10021),
            ({"type": "ratelimit", "name": "R", "namespace_id": "1", "simple": {"limit": 1, "period": 7}}, 10021),
        ]:
            with self.subTest(binding=binding):
                self.refused(400, code, self.upload, "checked", [binding])
        self.refused(400, 10021, self.upload, "checked", [{"type": "plain_text", "name": "A", "text": ""}] * 2)
        self.refused(400, 10021, self.upload, "checked", content=b"export default {}")
        with self.assertRaises(cloudflare.BadRequestError):
            self.scripts.update(
                "checked", account_id=ACCOUNT,
                metadata={"main_module": "worker", "bindings": [{"type": "inherit", "name": "Z"}]},
                files=[("worker", CODE, "application/octet-stream")], bindings_inherit="strict")
        self.assertEqual(versions(), before)

    def test_probe_8_what_does_not_start_leaves_the_old_version(self):
        self.upload("fragile", [{"type": "plain_text", "name": "X", "text": "old"}])
        with open("/bin/true", "rb") as file:
            self.refused(400, 10021, self.upload, "fragile", content=file.read())
        with open("/bin/ls", "rb") as file:
            message = self.refused(400, 10021, self.upload, "fragile", content=file.read())
        # All that it says itself.
        self.assertIn("unrecognized option", message)
        self.assertIn("fragile --help", message)
        self.assertEqual(self.ask("fragile").text, "old")
        self.assertEqual(len(list(self.scripts.versions.list("fragile", account_id=ACCOUNT))), 1)
        self.refused(404, 10007, self.scripts.versions.list, "unheard-of", account_id=ACCOUNT)

    def test_probe_9_listed_read_and_deleted(self):
        self.upload("mortal", tags=["blue"])
        self.assertIn("mortal", [script.id for script in self.scripts.list(account_id=ACCOUNT)])
        self.assertEqual([script.id for script in self.scripts.list(account_id=ACCOUNT, tags="blue:yes")], ["mortal"])
        got = self.scripts.with_raw_response.get("mortal", account_id=ACCOUNT)
        self.assertEqual(got.http_response.content, CODE)
        self.upload("user", [{"type": "service", "name": "SERVICE", "service": "mortal"}])
        self.refused(400, 10064, self.scripts.delete, "mortal", account_id=ACCOUNT)
        self.assertEqual(self.ask("user", "/service/hello").text, "hello")
        self.scripts.delete("user", account_id=ACCOUNT)
        self.scripts.delete("mortal", account_id=ACCOUNT)
        self.refused(404, 10007, self.scripts.get, "mortal", account_id=ACCOUNT)
        # The catch-all of `edge run` has the host again, and not the variable.
        self.assertEqual(self.ask("mortal").status, 404)

    def test_settings_are_changed_alone(self):
        self.upload("settled", [{"type": "plain_text", "name": "X", "text": "1"}], compatibility_date="2026-08-01")
        self.scripts.script_and_version_settings.edit(
            "settled", account_id=ACCOUNT, settings={"bindings": [{"type": "plain_text", "name": "X", "text": "2"}]})
        self.assertEqual(self.ask("settled").text, "2")
        settings = self.scripts.script_and_version_settings.get("settled", account_id=ACCOUNT)
        self.assertEqual(settings.compatibility_date, "2026-08-01")
        self.scripts.settings.edit("settled", account_id=ACCOUNT, logpush=True, tags=["a"])
        self.assertEqual(self.scripts.settings.get("settled", account_id=ACCOUNT).tags, ["a"])
        self.scripts.content.update(
            "settled", account_id=ACCOUNT, metadata={"main_module": "worker"},
            files=[("worker", code(8), "application/octet-stream")])
        self.assertEqual(self.ask("settled").text, "2")
        got = self.scripts.with_raw_response.get("settled", account_id=ACCOUNT)
        self.assertEqual(got.http_response.content, code(8))

    def test_bindings_reach_the_stores_of_the_account(self):
        """One namespace and one bucket, bound by the configuration and by an upload."""
        settings = self.scripts.script_and_version_settings.with_raw_response.get("hello-worker", account_id=ACCOUNT)
        bound = {binding["name"]: binding for binding in settings.http_response.json()["result"]["bindings"]}
        self.assertEqual(bound["R2"]["bucket_name"], "files")
        namespace = bound["KV"]["namespace_id"]
        self.assertRegex(namespace, r"^[0-9a-f]{32}$")
        self.upload("bound", [
            {"type": "kv_namespace", "name": "KV", "namespace_id": namespace},
            {"type": "r2_bucket", "name": "R2", "bucket_name": "files"},
            {"type": "queue", "name": "QUEUE", "queue_name": "jobs"},
            {"type": "ratelimit", "name": "LIMIT", "namespace_id": "1", "simple": {"limit": 5, "period": 10}},
            {"type": "analytics_engine", "name": "POINTS", "dataset": "visits"},
            {"type": "version_metadata", "name": "VERSION"},
            {"type": "json", "name": "J", "json": {"a": [1]}},
        ])
        self.node.request("PUT", "/kv/shared", b"value")
        self.assertEqual(self.ask("bound", "/kv/shared").text, "value")
        self.node.request("PUT", "/kv/back", b"again", host="bound.local.localhost")
        self.assertEqual(self.node.get("/kv/back").text, "again")
        kept = [{"type": "inherit", "name": "KV"}, {"type": "inherit", "name": "NEW", "old_name": "J"}]
        self.upload("bound", kept)
        self.assertEqual(self.ask("bound", "/kv/shared").text, "value")
        names = [(binding.name, binding.type) for binding in
                 self.scripts.script_and_version_settings.get("bound", account_id=ACCOUNT).bindings]
        self.assertEqual(names, [("KV", "kv_namespace"), ("NEW", "json")])

    # MARK: Versions and deployments

    def test_probe_10_a_version_waits_for_its_deployment(self):
        self.upload("patient", [{"type": "plain_text", "name": "X", "text": "old"}])
        version = self.version("patient", "new")
        self.assertRegex(version, r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
        self.assertEqual({self.ask("patient").text for _ in range(20)}, {"old"})
        self.deploy("patient", (version, 100))
        self.assertEqual({self.ask("patient").text for _ in range(20)}, {"new"})
        self.refused(404, 10007, self.version, "never-deployed", "x")

    def test_probe_11_shares_and_keys(self):
        self.upload("split", [{"type": "plain_text", "name": "X", "text": "a"}])
        [(first, _)] = self.deployed("split")
        second = self.version("split", "b")
        self.deploy("split", (first, 90), (second, 10))
        counts = self.count("split", 10_000)
        self.assertEqual(sum(counts.values()), 10_000)
        self.assertTrue(800 <= counts["b"] <= 1200, counts)
        for key in ["alpha", "beta", "gamma"]:
            answers = {self.ask("split", headers={"Cloudflare-Workers-Version-Key": key}).text for _ in range(20)}
            self.assertEqual(len(answers), 1)
        # A higher share takes keys from the old version and gives none back.
        on_new = set()
        for share in [10, 25, 50]:
            self.deploy("split", (first, 100 - share), (second, share))
            now = {key for key in range(400) if self.keyed("split", key) == "b"}
            self.assertLessEqual(on_new, now)
            self.assertTrue(abs(len(now) / 4 - share) < 8, (share, len(now)))
            on_new = now

    def keyed(self, name, key):
        return self.ask(name, headers={"Cloudflare-Workers-Version-Key": f"key {key}"}).text

    def count(self, name, number):
        def some(count):
            counts = collections.Counter()
            connection = http.client.HTTPConnection("127.0.0.1", self.node.port, timeout=60)
            for _ in range(count):
                connection.request("GET", "/variable/X", headers={"Host": f"{name}.local.localhost"})
                answer = connection.getresponse()
                counts[answer.read().decode()] += 1
            connection.close()
            return counts

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            return sum(pool.map(some, [number // 4] * 4), collections.Counter())

    def test_probe_12_what_can_be_deployed_and_asked_for(self):
        self.upload("chosen", [{"type": "plain_text", "name": "X", "text": "a"}])
        [(first, _)] = self.deployed("chosen")
        second, third = self.version("chosen", "b"), self.version("chosen", "c")
        self.refused(400, 10021, self.deploy, "chosen", (first, 60), (second, 39))
        self.refused(400, 10021, self.deploy, "chosen", (first, 50), (first, 50))
        self.refused(404, 100146, self.deploy, "chosen", ("00000000-0000-4000-8000-000000000000", 100))
        self.deploy("chosen", (first, 100), (second, 0))
        self.assertEqual({self.ask("chosen").text for _ in range(50)}, {"a"})
        def override(value):
            return self.ask("chosen", headers={"Cloudflare-Workers-Version-Overrides": value})
        self.assertEqual(override(f'chosen="{second}"').text, "b")
        self.assertEqual(override(f'other="{third}", chosen="{second}"').text, "b")
        self.assertEqual(override(f'chosen="{third}"').text, "a")
        for malformed in [f'chosen={second}', f'chosen="{second}', '="x"', 'chosen="x",', "\"", "chosen"]:
            self.assertEqual((override(malformed).status, override(malformed).text), (200, "a"))

    def test_a_request_stays_in_the_release_that_it_drew(self):
        """deploys.md, probe 2: a service answers with the version of the same release as its caller."""
        self.upload("backend", [{"type": "plain_text", "name": "X", "text": "a"}])
        self.upload("frontend", [{"type": "service", "name": "SERVICE", "service": "backend"}])
        [(first, _)] = self.deployed("backend")
        second = self.version("backend", "b")
        self.deploy("backend", (first, 50), (second, 50))
        for key in range(60):
            headers = {"Cloudflare-Workers-Version-Key": str(key)}
            direct = self.ask("backend", headers=headers).text
            self.assertEqual(self.ask("frontend", "/service/variable/X", headers=headers).text, direct)
        forced = {"Cloudflare-Workers-Version-Overrides": f'backend="{second}"'}
        self.assertEqual({self.ask("frontend", "/service/variable/X", headers=forced).text for _ in range(20)}, {"b"})

    def test_probe_13_deployments_are_listed_and_end(self):
        self.upload("history")
        self.upload("history")
        answer = self.scripts.deployments.with_raw_response.list("history", account_id=ACCOUNT).http_response.json()
        self.assertEqual(answer["result"]["deployments"][0]["versions"][0]["percentage"], 100)
        self.assertEqual(len(list(self.scripts.deployments.list("history", account_id=ACCOUNT))), 2)
        active, past = [deployment["id"] for deployment in answer["result"]["deployments"]]
        self.assertEqual(self.scripts.deployments.get(past, account_id=ACCOUNT, script_name="history").id, past)
        self.refused(400, 10021, self.scripts.deployments.delete, active, account_id=ACCOUNT, script_name="history")
        self.scripts.deployments.delete(past, account_id=ACCOUNT, script_name="history")
        self.refused(404, 10336, self.scripts.deployments.get, past, account_id=ACCOUNT, script_name="history")

    def test_probe_14_versions_are_paged(self):
        self.upload("many")
        for number in range(24):
            self.version("many", str(number))
        found = [version for version in self.scripts.versions.list("many", account_id=ACCOUNT, per_page=10)]
        self.assertEqual([version.number for version in found], list(range(25, 0, -1)))

    def test_a_rollback_asks_when_secrets_have_changed(self):
        self.upload("regretful", [{"type": "plain_text", "name": "X", "text": "a"}])
        [(first, _)] = self.deployed("regretful")
        self.scripts.secrets.update("regretful", account_id=ACCOUNT, name="S", text="x", type="secret_text")
        self.refused(400, 10220, self.deploy, "regretful", (first, 100))
        self.deploy("regretful", (first, 100), extra_query={"force": "true"})
        self.assertEqual(self.ask("regretful", "/secret-length/S").status, 404)
        self.refused(
            400, 10215, self.scripts.secrets.update, "regretful", account_id=ACCOUNT, name="S", text="y", type="secret_text")

    def test_probe_15_a_deploy_under_load_fails_nobody(self):
        self.upload("loaded", [{"type": "plain_text", "name": "X", "text": "0"}])
        stop = []

        def ask():
            failed, count = [], 0
            connection = http.client.HTTPConnection("127.0.0.1", self.node.port, timeout=60)
            while not stop:
                connection.request("GET", "/variable/X", headers={"Host": "loaded.local.localhost"})
                answer = connection.getresponse()
                text = answer.read()
                count += 1
                if answer.status != 200:
                    failed.append((answer.status, text))
            return count, failed

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            tasks = [pool.submit(ask) for _ in range(4)]
            for number in range(1, 9):
                self.upload("loaded", [{"type": "plain_text", "name": "X", "text": str(number)}])
            stop.append(True)
            results = [task.result() for task in tasks]
        self.assertEqual([failed for _, failed in results], [[]] * 4)
        self.assertGreater(sum(count for count, _ in results), 100)
        self.assertEqual(self.ask("loaded").text, "8")

    # MARK: Secrets and triggers

    def test_probe_16_secrets_are_seen_by_the_worker_alone(self):
        text = "a-text-that-stands-nowhere-else"
        self.upload("keeper")
        made = self.scripts.secrets.with_raw_response.update(
            "keeper", account_id=ACCOUNT, name="S", text=text, type="secret_text").http_response
        self.assertEqual([s.name for s in self.scripts.secrets.list("keeper", account_id=ACCOUNT)], ["S"])
        self.assertEqual(self.ask("keeper", "/secret-length/S").text, str(len(text)))
        [(version, _)] = self.deployed("keeper")
        shown = self.scripts.versions.with_raw_response.get(version, account_id=ACCOUNT, script_name="keeper").http_response
        self.assertIn('"S"', shown.text)
        for place in [made.text, shown.text, self.node.log_text()]:
            self.assertNotIn(text, place)
        with open(os.path.join(self.node.state, "control.sqlite-wal"), "rb") as file:
            self.assertNotIn(text.encode(), file.read())
        self.upload("keeper", keep_bindings=["secret_text"])
        self.assertEqual(self.ask("keeper", "/secret-length/S").text, str(len(text)))
        self.scripts.secrets.delete("S", account_id=ACCOUNT, script_name="keeper")
        self.refused(404, 10056, self.scripts.secrets.get, "S", account_id=ACCOUNT, script_name="keeper")
        self.scripts.secrets.update("keeper", account_id=ACCOUNT, name="S", text=text, type="secret_text")
        self.upload("keeper")
        self.assertEqual(list(self.scripts.secrets.list("keeper", account_id=ACCOUNT)), [])
        self.assertEqual(self.ask("keeper", "/secret-length/S").status, 404)

    def test_probe_17_schedules(self):
        self.upload("punctual")

        def crons():
            return [schedule.cron for schedule in self.scripts.schedules.get("punctual", account_id=ACCOUNT).schedules]
        self.scripts.schedules.update("punctual", account_id=ACCOUNT, body=[{"cron": "*/5 * * * *"}])
        self.assertEqual(crons(), ["*/5 * * * *"])
        for wrong in ["nope", "0 0 * * 0"]:
            self.refused(400, 10100, self.scripts.schedules.update, "punctual", account_id=ACCOUNT, body=[{"cron": wrong}])
        self.assertEqual(crons(), ["*/5 * * * *"])
        self.scripts.schedules.update("punctual", account_id=ACCOUNT, body=[{"cron": "0 0 * * 1"}, {"cron": "0 18 * * 6L"}])
        self.assertEqual(crons(), ["0 0 * * 1", "0 18 * * 6L"])
        answer = self.node.get("/cdn-cgi/handler/scheduled?worker=punctual&cron=0+0+*+*+1")
        self.assertEqual(answer.status, 200, answer.text)
        self.scripts.schedules.update("punctual", account_id=ACCOUNT, body=[])
        self.assertEqual(crons(), [])

    def test_probe_18_the_default_host_is_switched(self):
        self.upload("switched", [{"type": "plain_text", "name": "X", "text": "here"}])
        made = self.scripts.subdomain.create("switched", account_id=ACCOUNT, enabled=True, previews_enabled=False)
        got = self.scripts.subdomain.get("switched", account_id=ACCOUNT)
        self.assertEqual((made.enabled, made.previews_enabled), (True, False))
        self.assertEqual((got.enabled, got.previews_enabled), (True, False))
        self.assertEqual(self.ask("switched").text, "here")
        self.scripts.subdomain.create("switched", account_id=ACCOUNT, enabled=False)
        self.assertEqual(self.ask("switched").status, 404)

    def test_probe_19_routes(self):
        self.upload("routed", [{"type": "plain_text", "name": "X", "text": "1"}])
        self.upload("nearer", [{"type": "plain_text", "name": "X", "text": "2"}])
        routes = self.client.workers.routes
        wide = routes.create(zone_id=ACCOUNT, pattern="a.test/*", script="routed")
        near = routes.create(zone_id=ACCOUNT, pattern="a.test/variable/*", script="nearer")
        self.refused(409, 10020, routes.create, zone_id=ACCOUNT, pattern="a.test/*", script="nearer")
        self.refused(400, 10022, routes.create, zone_id=ACCOUNT, pattern="a.*.test/x", script="nearer")
        self.refused(404, 10007, routes.create, zone_id=ACCOUNT, pattern="b.test/*", script="nowhere")
        self.assertEqual(self.node.get("/variable/X", host="a.test").text, "2")
        self.assertEqual(self.node.get("/hello", host="a.test").text, "hello")
        self.assertEqual({route.id for route in routes.list(zone_id="a.test")}, {wide.id, near.id})
        routes.update(near.id, zone_id=ACCOUNT, pattern="a.test/variable/*", script="")
        self.assertEqual(self.node.get("/variable/X", host="a.test").status, 404)
        routes.delete(near.id, zone_id=ACCOUNT)
        self.assertEqual(self.node.get("/variable/X", host="a.test").text, "1")
        self.assertEqual(routes.get(wide.id, zone_id=ACCOUNT).pattern, "a.test/*")
        self.refused(404, 10009, routes.get, near.id, zone_id=ACCOUNT)
        routes.delete(wide.id, zone_id=ACCOUNT)

    def test_domains(self):
        self.upload("owner", [{"type": "plain_text", "name": "X", "text": "1"}])
        domains = self.client.workers.domains
        made = domains.update(account_id=ACCOUNT, hostname="shop.test", service="owner", zone_id="x")
        self.assertEqual((made.hostname, made.service, made.zone_name), ("shop.test", "owner", "shop.test"))
        self.assertEqual([domain.id for domain in domains.list(account_id=ACCOUNT, hostname="shop.test")], [made.id])
        self.refused(404, 10090, domains.update, account_id=ACCOUNT, hostname="b.test", service="nowhere", zone_id="x")
        domains.delete(made.id, account_id=ACCOUNT)
        self.assertEqual(list(domains.list(account_id=ACCOUNT)), [])

    def test_the_account_has_settings(self):
        self.refused(404, 10063, self.client.workers.subdomains.get, account_id=ACCOUNT)
        self.client.workers.subdomains.update(account_id=ACCOUNT, subdomain="local")
        self.assertEqual(self.client.workers.subdomains.get(account_id=ACCOUNT).subdomain, "local")
        self.client.workers.account_settings.update(account_id=ACCOUNT, default_usage_model="standard")
        self.assertEqual(self.client.workers.account_settings.get(account_id=ACCOUNT).default_usage_model, "standard")


class Restarts(Case):
    """What outlives the node."""

    seconds = 24

    @classmethod
    def setUpClass(cls):
        cls.state = tempfile.mkdtemp(prefix="edge-workers-")

    def restart(self):
        type(self).node = Node(
            "run", product("HelloWorker"), "--no-log-requests", "--var", f"MODE={self.mode}", state=self.state)
        self.node.start()
        self.addCleanup(self.node.kill)
        self.connect()

    mode = "1"

    def test_probe_26_a_killed_node_comes_back_as_it_was(self):
        self.restart()
        self.upload("lasting", [{"type": "plain_text", "name": "X", "text": "old"}])
        self.scripts.secrets.update("lasting", account_id=ACCOUNT, name="S", text="four", type="secret_text")
        version = self.version("lasting", "new")
        self.node.kill()
        self.restart()
        listed = [found.id for found in self.scripts.versions.list("lasting", account_id=ACCOUNT)]
        self.assertEqual((listed[0], len(listed)), (version, 3))
        self.assertEqual(self.ask("lasting").text, "old")
        self.assertEqual(self.ask("lasting", "/secret-length/S").text, "4")
        # What the API made of a worker of the configuration stays until the configuration changes.
        self.upload("hello-worker", [{"type": "plain_text", "name": "X", "text": "api"}])
        self.assertEqual(self.node.get("/variable/X").text, "api")
        self.node.kill()
        self.restart()
        self.assertEqual(self.node.get("/variable/X").text, "api")
        self.node.kill()
        type(self).mode = "2"
        self.restart()
        self.assertEqual(self.node.get("/variable/X").status, 404)
        self.assertEqual(self.node.get("/variable/MODE").text, "2")
        self.node.wait_for_log("the configuration deploys a version")
        self.assertEqual(self.ask("lasting").text, "old")

    def test_probe_27_an_upload_stays_out_of_memory(self):
        self.restart()
        self.upload("large")
        content = code(60 * 1024 * 1024 - len(CODE))

        def peak():
            with open(f"/proc/{self.node.process.pid}/status") as status:
                return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
        before = peak()
        self.upload("large", content=content)
        self.assertLess(peak() - before, 16 * 1024)
        self.refused(413, 10027, self.upload, "large", content=code(65 * 1024 * 1024))
        self.assertEqual(self.ask("large", "/hello").text, "hello")


if __name__ == "__main__":
    unittest.main()
