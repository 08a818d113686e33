"""What a deployment is judged by: smoke tests, hooks, the errors and times of both releases; and what is told of it."""

import http.server
import json
import os
import re
import threading
import time
import unittest

from harness import wait_until
from projects import Project
from test_deploy_cli import HOST, Platform, environment

HEAD = 'format = 1\ntenant = "t"\ncompatibility_date = "2026-08-01"\n'
SHAPE = HEAD + """[workers.hello]
product = "HelloWorker"
routes = ["{domain}/*"]
vars = { X = "one", FAIL_EVERY = "0", DELAY = "0" }
"""
SMOKE = """smoke = [
  { get = "/mood", status = 200, within = "10s", response_headers = { content-type = "text/plain; charset=utf-8" } },
  { get = "/json", json = { "/hello" = "world" } },
  { head = "/mood" },
  { post = "/length", body = "four", contains = "4" },
]
"""


def deploy(steps="[100]", bake="0s", monitor="0s", smoke="optional", no_traffic="promote", affinity="none"):
    return (f'[deploy]\nsteps = {steps}\nbake = "{bake}"\nmonitor = "{monitor}"\nsmoke = "{smoke}"\n'
            f'no_traffic = "{no_traffic}"\naffinity = "{affinity}"\n')


class Load:
    """Clients that ask for /mood until the end, and what they got. A context manager."""

    def __init__(self, node, clients=6):
        self.node = node
        self.answers = []
        self.lock = threading.Lock()
        self.ends = threading.Event()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(clients)]

    def run(self):
        while not self.ends.is_set():
            answer = self.node.get("/mood", host=HOST)
            with self.lock:
                self.answers.append((answer.status, answer.text))
            time.sleep(0.005)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self.ends.set()
        for thread in self.threads:
            thread.join(30)

    def count(self):
        with self.lock:
            return len(self.answers)

    def after(self, count):
        with self.lock:
            return self.answers[count:]

    def wait(self, more=100):
        goal = self.count() + more
        wait_until(lambda: self.count() >= goal, 60, what="more answers")


class Judged(unittest.TestCase):
    def start(self, deploy_table, shape=SHAPE, **keywords):
        project = Project(shape, {"staging": environment(deploy=deploy_table)}, products=["HelloWorker"])
        self.addCleanup(project.__exit__)
        return self.enterContext(Platform(project=project, **keywords))

    def change(self, platform, **variables):
        text = platform.project.read("wrangler-like.toml")
        for name, value in variables.items():
            text = re.sub(rf'\b{name} = "[^"]*"', f'{name} = "{value}"', text)
        platform.project.write("wrangler-like.toml", text)

    def report(self, platform):
        number = platform.status()["deployment"]["number"]
        return platform.rest().result("GET", f"edge/deployments/{number}/report")


class SmokeTesting(Judged):
    seconds = 60

    def test_probe_7_a_failed_smoke_test_keeps_all_requests_with_the_release_before(self):
        platform = self.start(deploy(smoke="required"), SHAPE + SMOKE)
        with Load(platform.running, clients=2) as load:
            load.wait(20)
            self.change(platform, X="two", FAIL_EVERY="1")
            shown = platform.deploy(code=1)
            self.assertIn("smoke test hello GET /mood: expected status 200, got 500", shown)
            load.wait(50)
        self.assertEqual(set(load.answers), {(200, "one")})
        status = platform.status()
        self.assertEqual((status["deployment"]["state"], status["deployment"]["percent"]), ("rolled-back", 0))
        report = self.report(platform)
        self.assertEqual(report["outcome"], "rolled-back")
        self.assertEqual(report["new"]["errors"].get("exceptions"), 1 + 1, report)  # GET and HEAD.
        self.assertEqual(report["old"]["failed"], 0)
        # And one that is as it should be goes on.
        self.change(platform, FAIL_EVERY="0")
        platform.deploy()
        self.assertEqual(platform.served("/mood"), "two")

    def test_what_a_smoke_test_expects_it_says(self):
        wrong = [
            ('{ get = "/json", json = { "/hello" = "moon" } }', 'expected "moon" at "/hello", got "world"'),
            ('{ get = "/json", json = { "/nothing" = 1 } }', 'expected 1 at "/nothing", got nothing there'),
            ('{ get = "/mood", json = { "/hello" = 1 } }', 'expected JSON, got "one"'),
            ('{ get = "/mood", contains = "moon" }', 'expected a body with "moon", got "one"'),
            ('{ get = "/mood", response_headers = { x-none = "1" } }', "expected the header x-none: 1, got none"),
            ('{ get = "/sleep/20000", within = "300ms" }', "it took longer than 300 ms"),
        ]
        platform = self.start(deploy(smoke="required"), SHAPE + "smoke = [" + ",".join(test for test, _ in wrong) + "]\n")
        self.change(platform, X="one", DELAY="1")
        shown = platform.deploy(code=1)
        for _, reason in wrong:
            self.assertIn(reason, shown)


class Hooks(Judged):
    seconds = 60

    def test_a_command_is_asked_and_may_say_no(self):
        platform = self.start(deploy())
        told = platform.project.path("told")
        good = platform.project.read("environments/staging.toml")

        def hook(table):
            platform.project.write("environments/staging.toml", good + "[hooks]\n" + table)

        hook(f'''confirm_rollout = "echo $EDGE_DEPLOYMENT $EDGE_RELEASE $EDGE_ENVIRONMENT $EDGE_STATE $EDGE_PERCENT > {told}"
confirm_promotion = "echo not today; exit 3"
rollback = "echo back >> {told}"''')
        self.change(platform, X="two")
        shown = platform.deploy(code=1)
        self.assertIn("hook confirm_promotion:", shown)
        self.assertIn("ended with 3: not today", shown)
        deployment = platform.status()["deployment"]
        wait_until(lambda: "back" in open(told).read(), what="the rollback's hook")
        self.assertEqual(open(told).read().splitlines()[0].split()[:3],
                         [str(deployment["number"]), str(deployment["release"]), "staging"])
        self.assertEqual(platform.served("/mood"), "one")
        # One that hangs is ended with all that it has started.
        hook('confirm_rollout = { command = "sleep 300 & echo begun; wait", timeout = "500ms" }\n')
        shown = platform.deploy(code=2)
        self.assertIn("was ended: it may take 500 ms: begun", shown)
        self.assertEqual(platform.served("/mood"), "one")

    def test_a_server_is_asked_and_may_say_no(self):
        asked, says = [], [204]

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(says[0])
                body = b"" if says[0] == 204 else b"closed on Sundays"
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.shutdown)
        platform = self.start(deploy())
        good = platform.project.read("environments/staging.toml")
        url = f"http://127.0.0.1:{server.server_address[1]}/ask"
        platform.project.write(
            "environments/staging.toml", good + f'[hooks]\nconfirm_rollout = "{url}"\nconfirm_traffic_increase = "{url}"\n')
        self.change(platform, X="two")
        platform.deploy()
        self.assertEqual(platform.served("/mood"), "two")
        self.assertEqual([words["hook"] for words in asked], ["confirm_rollout", "confirm_traffic_increase"])
        self.assertEqual((asked[0]["environment"], asked[0]["tenant"]), ("staging", "t"))
        self.assertEqual(asked[1]["release"], platform.status()["active"])
        says[0] = 409
        self.change(platform, X="three")
        self.assertIn(f"{url} answered 409: closed on Sundays", platform.deploy(code=2))
        self.assertEqual(platform.served("/mood"), "two")


class Judging(Judged):
    seconds = 120

    def test_probe_8_errors_of_a_share_end_the_deployment(self):
        platform = self.start(deploy(steps="[25, 100]", bake="4s"))
        with Load(platform.running) as load:
            load.wait()
            self.change(platform, X="two", FAIL_EVERY="5")
            shown = platform.deploy(code=1)
            self.assertRegex(shown, r"error rate \d+\.\d % \(\d+ of \d+ requests\) against 0\.0 % \(0 of \d+\)")
            count = load.count()
            load.wait(200)
            # Those of the new release that were under way may still end.
            self.assertEqual(set(load.after(count + 20)), {(200, "one")})
        report = self.report(platform)
        self.assertEqual((report["outcome"], report["old"]["failed"]), ("rolled-back", 0), report)
        self.assertGreater(report["new"]["failed"], 0)
        self.assertGreater(report["during"]["errorRate"], 0.01)

    def test_probe_9_a_slower_release_is_rolled_back(self):
        platform = self.start(deploy(steps="[50, 100]", bake="6s"))
        self.change(platform, DELAY="10")
        platform.deploy("--steps", "100", "--bake", "0s")
        with Load(platform.running) as load:
            load.wait(200)
            self.change(platform, X="two", DELAY="300")
            shown = platform.deploy(code=1)
            self.assertRegex(shown, r"p99 of hello \d+ ms \(\d+ requests\) against \d+(\.\d)? ms \(\d+\)")
        self.assertEqual(platform.served("/mood"), "one")

    def test_probe_28_errors_after_the_switch_bring_the_release_before_back(self):
        platform = self.start(deploy(monitor="60s"))
        with Load(platform.running) as load:
            load.wait(200)
            self.change(platform, X="two", FAIL_EVERY="3")
            platform.edge("deploy", "--environment", "staging", "--products", platform.project.path(".build/debug"), code=0)
            wait_until(lambda: platform.status()["deployment"]["state"] == "rolled-back", 120, what="the way back")
            count = load.count()
            load.wait(200)
            self.assertEqual(set(load.after(count + 20)), {(200, "one")})
        self.assertIn("error rate", platform.status()["deployment"]["reason"])
        report = self.report(platform)
        self.assertGreater(report["after"]["errorRate"], 0.01)
        self.assertEqual(report["before"]["errors"], 0)

    def test_a_healthy_release_is_promoted_and_told_of(self):
        platform = self.start(deploy(steps="[50, 100]", bake="4s"))
        node = platform.running
        with Load(node) as load:
            load.wait(200)
            self.change(platform, X="two")
            platform.deploy()
            load.wait(200)
        self.assertEqual({status for status, _ in load.answers}, {200})
        active = platform.status()["active"]
        wait_until(lambda: self.report(platform).get("drainMilliseconds") is not None, 60, what="the end of the drain")
        report = self.report(platform)
        self.assertEqual((report["release"], report["new"]["failed"], report["old"]["failed"]), (active, 0, 0))
        self.assertGreater(report["during"]["requests"], 50)
        self.assertGreater(report["before"]["requests"], 50)
        self.assertLessEqual(report["during"]["p50Milliseconds"], report["during"]["p99Milliseconds"])
        self.assertEqual((report["old"]["open"], report["socketsMoved"]), (0, 0))
        slots = {slot["role"]: slot for slot in node.status()["slots"]}
        self.assertEqual((slots["active"]["release"], slots["active"]["percent"]), (active, 100))
        self.assertGreater(slots["active"]["requests"], 50)
        self.assertEqual(slots["active"]["errors"], 0)
        self.assertIn("warm", slots)
        metrics = node.request("GET", "/metrics", port=node.control_port).text
        self.assertRegex(metrics, rf'edge_release_requests_finished_total{{tenant="t",release="{active}"}} \d+')
        self.assertRegex(metrics, rf'edge_release_handler_microseconds{{tenant="t",release="{active}",quantile="0.99"}} \d+')
        self.assertIn(f"t/release {active}  active, 100 %", platform.edge("status"))

    def test_probe_10_a_canary_without_traffic_is_paused(self):
        platform = self.start(deploy(steps="[5, 100]", bake="1s", no_traffic="pause"))
        self.change(platform, X="two")
        self.assertIn("too few requests to judge by", platform.deploy(code=3))
        self.assertEqual(platform.status()["deployment"]["percent"], 5)
        platform.edge("deploy", "promote")
        wait_until(lambda: platform.served("/mood") == "two", 60, what="the new release")


if __name__ == "__main__":
    unittest.main()
