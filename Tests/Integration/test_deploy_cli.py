"""`edge deploy` and what belongs to it: releases, rollback, promotion, differences, triggers, secrets, and the REST API below."""

import hashlib
import io
import json
import os
import pty
import re
import shutil
import signal
import sqlite3
import subprocess
import tarfile
import tempfile
import threading
import unittest

from harness import Node, edge, is_alive, product, wait_until
from projects import Project
from rest import Rest
from test_scripts_api import code, form

HEAD = 'format = 1\ntenant = "t"\ncompatibility_date = "2026-08-01"\n'
WORKER = '[workers.hello]\nproduct = "HelloWorker"\nroutes = ["{domain}/*"]\n'
SHAPE = HEAD + WORKER + 'vars = { X = "one" }\n'
# Quick, and without what the checks of a rollout need.
DEPLOY = '[deploy]\nsteps = [100]\nbake = "0s"\nmonitor = "0s"\nsmoke = "optional"\nno_traffic = "promote"\n'
HOST = "staging.example"


def environment(domain=HOST, deploy=DEPLOY, extra=""):
    return f'format = 1\ndomain = "{domain}"\nlisten = ["127.0.0.1:0"]\nkeep_warm = "1m"\n{extra}\n{deploy}'


class Platform:
    """A project, and a node of one of its environments. A context manager."""

    def __init__(self, shape=SHAPE, environments=None, name="staging", dev_vars="", project=None):
        self.name = name
        self.owns_project = project is None
        self.project = project or Project(
            shape, environments or {"staging": environment()}, products=["HelloWorker"], dev_vars=dev_vars)
        self.state = tempfile.mkdtemp(prefix="edge-deploy-")
        self.key = os.path.join(self.state + "-key", "key")

    def node(self, **keywords):
        return Node("serve", "--environment", self.name, "--products", self.project.path(".build/debug"),
                    "--key-file", self.key, cwd=self.project.directory, state=self.state, **keywords)

    def __enter__(self):
        self.running = self.node()
        try:
            self.running.__enter__()
        except BaseException:
            self.clean()
            raise
        return self

    def __exit__(self, *error):
        self.running.__exit__(*error)
        self.clean()

    def clean(self):
        for folder in (self.state, os.path.dirname(self.key)):
            shutil.rmtree(folder, ignore_errors=True)
        if self.owns_project:
            self.project.__exit__()

    def restart(self, kill=False):
        self.running.kill() if kill else self.running.stop()
        self.running.__exit__(None, None, None)
        self.running = self.node()
        self.running.__enter__()

    def edge(self, *words, code=0, input=None, timeout=120):
        done = edge(*words, "--state", self.state, cwd=self.project.directory, input=input, timeout=timeout)
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr, self.running.log_text()[-3000:])
        return done.stdout if code == 0 else done.stderr

    def deploy(self, *words, code=0):
        return self.edge("deploy", "--environment", self.name, "--products", self.project.path(".build/debug"), *words,
                         code=code)

    def popen(self, *words):
        return subprocess.Popen(
            [product("edge"), *words, "--state", self.state], cwd=self.project.directory, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)

    def secret(self, *words, input=None, code=0):
        return self.edge("secret", *words, "--env", self.name, "--key-file", self.key, input=input, code=code)

    def served(self, path="/variable/X", host=HOST):
        return self.running.get(path, host=host).text

    def set(self, value):
        text = self.project.read("wrangler-like.toml")
        self.project.write("wrangler-like.toml", re.sub(r'X = "[^"]*"', f'X = "{value}"', text))

    def status(self):
        return json.loads(self.edge("deploy", "status", "--json"))

    def releases(self):
        return json.loads(self.edge("releases", "list", "--json"))

    def rest(self):
        return Rest(self.running, "t")


class Deploying(unittest.TestCase):
    seconds = 60

    @classmethod
    def setUpClass(cls):
        cls.platform = cls.enterClassContext(Platform())

    def test_files_count_for_edge_deploy_alone(self):
        # Probe 23 of the configuration, as far as deploys go.
        platform = self.platform
        first = platform.served()
        platform.set("edited")
        self.assertEqual(platform.served(), first)
        shown = platform.deploy("--message", "why not", "--tag", "v2")
        self.assertRegex(shown, r"(?m)^active: release \d+ \(deployment \d+\)$")
        for state in ("created", "validated", "starting", "healthy", "active"):
            self.assertRegex(shown, rf"(?m)^\d\d:\d\d:\d\d  {state} ")
        self.assertEqual(platform.served(), "edited")
        status = platform.status()
        newest = platform.releases()[0]
        self.assertEqual((newest["number"], newest["status"]), (status["active"], "active"))
        self.assertEqual((newest["message"], newest["tag"]), ("why not", "v2"))
        self.assertEqual(status["deployment"]["author"]["source"], "api")
        # Also over a restart, whatever the files say by then.
        platform.set("edited again")
        platform.restart()
        self.assertEqual(platform.served(), "edited")
        self.assertEqual(platform.status()["active"], newest["number"])
        platform.restart(kill=True)
        self.assertEqual(platform.served(), "edited")
        platform.deploy()
        self.assertEqual(platform.served(), "edited again")

    def test_before_the_first_deployment_a_start_reads_the_files(self):
        with Platform() as platform:
            self.assertEqual(platform.served(), "one")
            platform.set("two")
            platform.restart()
            self.assertEqual(platform.served(), "two")
            # A change of a single worker is no deployment of the platform.
            platform.rest().result("PUT", "workers/scripts/hello/secrets", {
                "name": "NEW", "text": "x", "type": "secret_text"})
            platform.set("three")
            platform.restart()
            self.assertEqual(platform.served(), "three")

    def test_probe_24_a_dry_run_prints_the_plan_and_writes_nothing(self):
        platform = self.platform
        platform.deploy()
        before = platform.served()
        self.assertEqual(platform.deploy("--dry-run"), "no changes\n")
        platform.set("rehearsed")

        newest = platform.status()["deployment"]["number"]

        def tables():
            with sqlite3.connect(f"file:{platform.state}/control.sqlite?mode=ro", uri=True) as database:
                names = [row[0] for row in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
                counts = {name: database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names
                          if name not in ("audit", "audit_log", "sqlite_sequence") and "audit" not in name}
                # Those before tell long after they are active that they have drained, and that they are retired.
                counts["deployment_events"] = database.execute(
                    "SELECT count(*) FROM deployment_events WHERE deployment > ?", (newest,)).fetchone()[0]
                return counts

        def files():
            return {folder: sorted(os.listdir(os.path.join(platform.state, folder))) for folder in ("artifacts", "bundles")}

        wait_until(lambda: tables()["deployment_locks"] == 0, 60, "the deployment before to drain")
        rows, kept = tables(), files()
        shown = platform.deploy("--dry-run")
        self.assertIn("~ worker hello\n", shown)
        self.assertIn("nothing was changed", shown)
        self.assertEqual(tables(), rows)
        wait_until(lambda: files() == kept, what=lambda: f"{files()} to be {kept}")
        self.assertEqual(platform.served(), before)
        plan = json.loads(platform.deploy("--dry-run", "--json"))
        self.assertEqual((plan["changed"], plan["workers"], plan["steps"]), (True, {"hello": "changed"}, [100]))
        operations = [entry["action"]["type"] for entry in platform.rest().result("GET", "audit_logs")]
        self.assertIn("edge.deployments.create", operations)

    def test_probe_26_the_same_twice_is_no_change(self):
        platform = self.platform
        platform.set("twice")
        platform.deploy()
        pids = platform.running.isolate_pids()
        count = len(platform.releases())
        self.assertEqual(platform.deploy(), "no changes\n")
        self.assertEqual(len(platform.releases()), count)
        self.assertEqual(platform.running.isolate_pids(), pids)

    def test_an_executable_that_is_gone_is_brought_again_or_missed_by_name(self):
        platform = self.platform
        platform.set("before it was gone")
        platform.deploy()
        bundle = platform.releases()[0]["bundle"]
        artifacts = os.path.join(platform.state, "artifacts")
        hashes = [name for name in os.listdir(artifacts) if re.fullmatch("[0-9a-f]{64}", name)]
        platform.set("brought again")
        for name in hashes:
            os.remove(os.path.join(artifacts, name))
        # Who only names the bundle brings nothing.
        refused = platform.rest().ask("POST", "edge/deployments", {"bundle": bundle, "force": True})
        self.assertEqual((refused.status, refused.json()["errors"][0]["code"]), (400, 11403), refused.text)
        self.assertIn("HelloWorker", refused.text)
        self.assertEqual(platform.served(), "before it was gone")
        platform.deploy()
        self.assertEqual(platform.served(), "brought again")
        self.assertLessEqual(set(os.listdir(artifacts)), set(hashes))

    def test_a_terminal_shows_the_share_while_it_lasts(self):
        platform = self.platform
        platform.set("on a terminal")
        ours, theirs = pty.openpty()
        try:
            process = subprocess.Popen(
                [product("edge"), "deploy", "--environment", "staging", "--products", platform.project.path(".build/debug"),
                 "--state", platform.state, "--steps", "50,100", "--bake", "1s"],
                cwd=platform.project.directory, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
        finally:
            os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # EIO: nobody writes any more.
            pass
        finally:
            os.close(ours)
            code = process.wait(60)
        text = shown.decode()
        self.assertEqual(code, 0, text)
        bar = "[==========          ]  50 %"
        self.assertIn(bar, text)
        self.assertLess(text.index(bar), text.index("gets 100 % of requests"), text)
        self.assertRegex(text.splitlines()[-1], r"active: release \d+ \(deployment \d+\)$")

    def test_mistakes_are_refused_with_their_places(self):
        platform = self.platform
        active = platform.status()["active"]
        good = platform.project.read("wrangler-like.toml")
        self.addCleanup(platform.project.write, "wrangler-like.toml", good)
        platform.project.write("wrangler-like.toml", good + 'crons = ["61 * * * *"]\nsecrets = 3\n')
        shown = platform.deploy(code=2)
        self.assertRegex(shown, r"wrangler-like\.toml:\d+:\d+: error: .*crons")
        self.assertRegex(shown, r"wrangler-like\.toml:\d+:\d+: error: .*secrets")
        platform.project.write("wrangler-like.toml", good + 'secrets = ["MISSING_ONE"]\n')
        self.assertRegex(platform.deploy(code=2),
                         r'wrangler-like\.toml:\d+:\d+: error: .*requires the secret "MISSING_ONE"')
        platform.project.write("wrangler-like.toml", good.replace('tenant = "t"', 'tenant = "other"'))
        self.assertIn('the bundle is of the tenant "other", not of "t"', platform.deploy(code=2))
        platform.project.write("wrangler-like.toml", good.replace("HelloWorker", "Unbuilt"))
        self.assertIn("does not exist; was it built?", platform.deploy(code=2))
        platform.project.write("wrangler-like.toml", good)
        self.assertIn("a node of staging, not of production", platform.edge("deploy", "--environment", "production", code=1))
        for steps in ("10,50", "50,10,100", "x", "0,100", "10,,100"):
            self.assertIn("percentages that rise and end in 100", platform.deploy("--steps", steps, code=64))
        platform.deploy("--bake", "30", code=64)
        platform.edge("deploy", "atach", code=64)
        self.assertEqual(platform.status()["active"], active)

    def test_a_version_that_crashes_is_rolled_back(self):
        # Probe 6, as whoever deploys sees it.
        platform = self.platform
        platform.deploy()
        before = platform.served()
        active = platform.status()["active"]
        good = platform.project.path(".build/debug/HelloWorker")
        self.addCleanup(platform.project.install, "HelloWorker", product("HelloWorker"))
        crasher = platform.project.path("crasher")
        shutil.copy("/bin/false", crasher)
        platform.project.install("HelloWorker", crasher)
        self.assertTrue(os.path.exists(good))
        shown = platform.deploy(code=1)
        self.assertRegex(shown, r"deployment \d+ was rolled back: ")
        self.assertEqual(platform.served(), before)
        status = platform.status()
        self.assertEqual((status["active"], status["deployment"]["state"], status["deployment"]["exit_code"]),
                         (active, "rolled-back", 1))
        platform.project.install("HelloWorker", product("HelloWorker"))
        platform.deploy()

    def test_json_is_a_line_for_each_event_and_the_deployment_last(self):
        platform = self.platform
        platform.set("as JSON")
        *events, record = [json.loads(line) for line in platform.deploy("--json").splitlines()]
        self.assertEqual([event["sequence"] for event in events], list(range(1, len(events) + 1)))
        self.assertEqual(events[0]["state"], "created")
        self.assertEqual(record["exit_code"], 0)
        self.assertIn(record["state"], ("active", "monitoring", "draining", "retired"))
        self.assertEqual(set(record), {
            "number", "state", "percent", "release", "previous", "trigger", "author", "options", "created_on", "finished_on",
            "pause", "reason", "coordination", "exit_code"})

    def test_views(self):
        platform = self.platform
        platform.set("viewed")
        platform.deploy("-m", "a message")
        number = platform.status()["active"]
        shown = platform.edge("releases", "view", str(number))
        for text in ("a message", "hello", "active", "deploy"):
            self.assertIn(text, shown)
        self.assertRegex(platform.edge("releases", "list"), rf"(?m)^{number} +active ")
        config = platform.edge("releases", "view", str(number), "--config")
        self.assertRegex(config, r'(?m)^workers\.hello\.vars\.X = "viewed" \(wrangler-like\.toml:\d+:\d+\)$')
        files = {file["name"]: file["text"] for file in json.loads(
            platform.edge("releases", "view", str(number), "--config", "--json"))["files"]}
        self.assertEqual(files["wrangler-like.toml"], platform.project.read("wrangler-like.toml"))
        self.assertIn("environments/staging.toml", files)
        whole = json.loads(platform.edge("releases", "view", str(number), "--json"))
        self.assertEqual(whole["deployments"][0]["release"], number)
        self.assertIn("there is no release 9999", platform.edge("releases", "view", "9999", code=1))
        platform.edge("releases", "view", "x", code=64)

    def test_differences(self):
        platform = self.platform
        platform.set("left")
        platform.deploy()
        left = platform.status()["active"]
        platform.set("right")
        platform.deploy()
        right = platform.status()["active"]
        done = edge("diff", str(left), str(right), "--state", platform.state)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn('- workers.hello.vars.X = "left"\n+ workers.hello.vars.X = "right"\n', done.stdout)
        self.assertRegex(done.stdout, r"(?m)^- workers\.hello\.version = [0-9a-f-]{36}$")
        self.assertNotIn("products.", done.stdout)
        same = edge("diff", str(right), str(right), "--state", platform.state)
        self.assertEqual((same.returncode, same.stdout), (0, ""))
        changes = json.loads(edge("diff", str(left), str(right), "--json", "--state", platform.state).stdout)
        self.assertIn({"path": "workers.hello.vars.X", "old": '"left"', "new": '"right"'}, changes)


class Shell(unittest.TestCase):
    def test_a_command_that_has_commands(self):
        shown = edge("deploy", "--help").stdout
        self.assertIn("usage: edge deploy [OPTION...]", shown)
        for text in ("attach ", "--steps PERCENTAGES", "75 another one"):
            self.assertIn(text, shown)
        self.assertIn("usage: edge deploy attach [DEPLOYMENT]", edge("deploy", "attach", "--help").stdout)

        def offered(*words):
            return [line.split("\t")[0] for line in edge("__complete", "--", *words).stdout.splitlines()]

        self.assertEqual(offered("deploy", ""), ["status", "attach", "abort", "resume", "promote"])
        self.assertIn("--pause-at", offered("deploy", "--pa"))
        self.assertEqual(offered("releases", "v"), ["view"])
        done = edge("deploy", "--remote", "http://127.0.0.1:9", "--token", "x")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no node answers there", done.stderr)


class Rollbacks(unittest.TestCase):
    seconds = 60

    @classmethod
    def setUpClass(cls):
        cls.platform = cls.enterClassContext(Platform())
        cls.platform.set("old")
        cls.platform.deploy()

    def test_probe_17_a_rollback_is_a_deployment_of_its_own(self):
        platform = self.platform
        old = platform.status()["active"]
        platform.set("new")
        platform.deploy()
        new = platform.status()["active"]
        self.assertIn(f"would roll back to release {old}", platform.edge("rollback", "--dry-run"))
        self.assertEqual(platform.served(), "new")
        shown = platform.edge("rollback", "-m", "new is broken")
        self.assertIn(f"active: release {old} ", shown)
        self.assertEqual(platform.served(), "old")
        status = platform.status()
        self.assertEqual((status["active"], status["deployment"]["trigger"]), (old, "rollback"))
        self.assertEqual(status["deployment"]["options"]["message"], "new is broken")
        # To one that is named, also after the isolates are gone.
        platform.restart()
        self.assertEqual(platform.served(), "old")
        self.assertIn(f"active: release {new} ", platform.edge("rollback", str(new)))
        self.assertEqual(platform.served(), "new")
        self.assertIn("there is no release 9999", platform.edge("rollback", "9999", code=1))
        self.assertIn("is the one that serves", platform.edge("rollback", str(new), code=1))
        platform.edge("rollback", "x", code=64)
        platform.edge("rollback", "--name", "hello", "--restore-data", code=64)
        platform.edge("rollback", str(old))


class Steps(unittest.TestCase):
    """Deployments that stop on their way."""

    seconds = 90

    @classmethod
    def setUpClass(cls):
        cls.platform = cls.enterClassContext(Platform())

    def tearDown(self):
        deployment = self.platform.status()["deployment"]
        if deployment["state"] == "shifting":
            self.platform.edge("deploy", "abort")

    def begin(self, value, *words):
        self.platform.set(value)
        shown = self.platform.deploy("--steps", "50,100", "--pause-at", "50", *words, code=3)
        self.assertRegex(shown, r"deployment \d+ waits at 50 %: ")
        return self.platform.status()["deployment"]["number"]

    def test_pause_and_promote(self):
        platform = self.platform
        before = platform.status()["active"]
        number = self.begin("promoted")
        status = platform.status()
        self.assertEqual((status["active"], status["percent"], status["deployment"]["exit_code"]), (before, 50, 3))
        shown = platform.edge("deploy", "status")
        self.assertRegex(shown, r"candidate +release \d+, 50 % of requests")
        # Probe 12.
        platform.set("another")
        self.assertRegex(
            platform.deploy(code=75),
            rf'deployment {number} \(.*, shifting 50 %\) is in progress; wait with --wait or stop it with '
            rf'"edge deploy abort {number}"')
        self.assertEqual(platform.rest().ask("POST", "edge/deployments", {"bundle": "0" * 64}).status, 404)
        platform.edge("deploy", "promote")
        self.assertEqual(platform.served(), "promoted")
        self.assertEqual(platform.edge("deploy", "promote", code=1).count("\n"), 1)

    def test_resume(self):
        number = self.begin("resumed")
        self.assertIn("active: release", self.platform.edge("deploy", "resume", str(number)))
        self.assertEqual(self.platform.served(), "resumed")

    def test_wait_for_another(self):
        platform = self.platform
        number = self.begin("waited for")
        platform.set("waiting")
        process = platform.popen("deploy", "--products", platform.project.path(".build/debug"), "--wait")
        try:
            while f"waiting: deployment {number} " not in (line := process.stderr.readline()):
                self.assertTrue(line)
            platform.edge("deploy", "abort", str(number))
            output, errors = process.communicate(timeout=120)
            self.assertEqual(process.returncode, 0, errors)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        self.assertIn("active: release", output)
        self.assertEqual(platform.served(), "waiting")

    def test_probe_25_ctrl_c_leaves_it_going_on_and_abort_ends_it(self):
        platform = self.platform
        before = platform.served()
        platform.set("interrupted")
        process = platform.popen("deploy", "--products", platform.project.path(".build/debug"), "--steps", "50,100", "--bake",
                                 "1h")
        try:
            wait_until(lambda: platform.status()["percent"] == 50, 60, "50 %")
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 130, errors)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        number = platform.status()["deployment"]["number"]
        self.assertIn(f"`edge deploy attach {number}` shows it", errors)
        self.assertEqual(platform.status()["percent"], 50)
        attached = platform.popen("deploy", "attach")
        try:
            wait_until(lambda: "shifting" in attached.stdout.readline(), 60, "the step")
            platform.edge("deploy", "abort")
            attached.communicate(timeout=60)
            self.assertEqual(attached.returncode, 1)
        finally:
            if attached.poll() is None:
                attached.kill()
                attached.communicate()
        status = platform.status()
        self.assertEqual((status["candidate"], status["percent"], status["deployment"]["state"]), (None, 0, "rolled-back"))
        self.assertEqual({platform.served() for _ in range(20)}, {before})

    def test_ctrl_c_twice_aborts(self):
        platform = self.platform
        platform.set("called off")
        process = platform.popen("deploy", "--products", platform.project.path(".build/debug"), "--steps", "50,100", "--bake",
                                 "1h")
        try:
            wait_until(lambda: platform.status()["percent"] == 50, 60, "50 %")
            process.send_signal(signal.SIGINT)
            while "goes on" not in (line := process.stderr.readline()):
                self.assertTrue(line)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        self.assertEqual(process.returncode, 1, errors)
        self.assertIn("was rolled back", errors)


class Secrets(unittest.TestCase):
    seconds = 60

    @classmethod
    def setUpClass(cls):
        cls.platform = Platform(SHAPE + 'secrets = ["KEY"]\n')
        cls.platform.secret("put", "KEY", input="1")
        cls.enterClassContext(cls.platform)

    def length(self):
        return self.platform.served("/secret-length/KEY")

    def test_probe_23_secrets_are_staged_until_a_deployment(self):
        platform = self.platform
        platform.set("deployed")
        platform.deploy()
        self.assertEqual(self.length(), "1")
        version = platform.releases()[0]["versions"]["hello"]
        platform.secret("put", "KEY", input="12")
        self.assertEqual(self.length(), "1")
        # Nor does a restart take it.
        platform.restart()
        self.assertEqual(self.length(), "1")
        self.assertEqual(platform.releases()[0]["versions"]["hello"], version)
        platform.deploy()
        self.assertEqual(self.length(), "2")
        shown = platform.secret("put", "KEY", "--deploy", input="123")
        self.assertIn("stored KEY\n", shown)
        self.assertIn("active: release", shown)
        self.assertEqual(self.length(), "3")
        self.assertEqual(platform.status()["deployment"]["trigger"], "secret")
        # Old versions have what they had, which somebody has to want.
        done = edge("rollback", "--environment", "staging", "--state", platform.state, cwd=platform.project.directory)
        self.assertEqual(done.returncode, 64, done.stdout + done.stderr)
        self.assertIn("hello KEY", done.stderr)
        self.assertEqual(self.length(), "3")
        platform.edge("rollback", "--yes")
        self.assertEqual(self.length(), "2")

    def test_over_rest(self):
        platform = self.platform
        rest = platform.rest()
        self.assertEqual(rest.result("PUT", "edge/secrets", {"name": "OTHER", "text": "abc", "worker": "hello"}),
                         {"name": "OTHER", "worker": "hello"})
        self.assertIn({"name": "OTHER", "worker": "hello"}, rest.result("GET", "edge/secrets"))
        remote = ["--remote", platform.running.control, "--token", rest.token]
        self.assertIn("OTHER\thello\n", edge("secret", "list", *remote).stdout)
        path = platform.project.path("many.json")
        with open(path, "w") as file:
            json.dump({"OTHER": None, "MORE": "x"}, file)
        done = edge("secret", "bulk", path, "--worker", "hello", *remote)
        self.assertEqual((done.returncode, done.stdout), (0, "changed 2 secrets\n"), done.stderr)
        self.assertEqual(rest.failure("DELETE", "edge/secrets/OTHER?worker=hello"), (404, 10056))
        # All or none.
        self.assertEqual(rest.failure("PATCH", "edge/secrets", {"secrets": {"OTHER": None, "NEW": "x"}}), (404, 10056))
        self.assertNotIn("NEW", [secret["name"] for secret in rest.result("GET", "edge/secrets")])
        self.assertEqual(rest.failure("PUT", "edge/secrets", {"name": "a name", "text": "x"}), (400, 10021))
        self.assertEqual(rest.ask("DELETE", "edge/secrets/MORE?worker=hello").status, 200)


class Promotion(unittest.TestCase):
    seconds = 60

    def test_what_is_active_in_staging_goes_to_production(self):
        environments = {
            "staging": environment(),
            "production": environment("production.example", DEPLOY + 'promote_from = "staging"\n')}
        with Platform(environments=environments) as staging, \
                Platform(project=staging.project, name="production") as production:
            host = "production.example"
            staging.set("promoted")
            staging.deploy()
            # Files that were changed since are none of it.
            staging.set("not promoted")
            active = staging.releases()[0]
            arguments = ["--from", staging.running.control, "--from-state", staging.state]
            shown = production.edge("promote", "staging", "production", *arguments)
            self.assertIn("active: release", shown)
            self.assertEqual(production.served(host=host), "promoted")
            release = production.releases()[0]
            self.assertEqual(release["bundle"], active["bundle"])
            self.assertEqual(release["message"], f"promoted release {active['number']} of staging")
            self.assertEqual(production.status()["deployment"]["trigger"], "promotion")
            self.assertEqual(production.edge("promote", "staging", "production", *arguments), "no changes\n")
            # Only what serves in staging; the same executables are fine.
            production.deploy(*arguments)
            self.assertEqual(production.served(host=host), "not promoted")
            with open(production.project.path("other"), "wb") as file:
                with open(product("HelloWorker"), "rb") as source:
                    file.write(source.read() + b"\0")
            os.chmod(production.project.path("other"), 0o755)
            production.project.install("HelloWorker", production.project.path("other"))
            self.assertIn("HelloWorker: not what is active in staging", production.deploy(*arguments, code=2))
            self.assertIn("promote_from", production.deploy("--from-state", "/nowhere", code=2))
            production.deploy("--allow-unpromoted")
            # The node sees to it as well.
            answer = production.rest().ask("POST", "edge/deployments", {"bundle": production.releases()[0]["bundle"]})
            self.assertEqual(answer.status, 400, answer.text)
            self.assertIn("only what is active there", answer.json()["errors"][0]["message"])
            # What was changed over the API alone is in no bundle.
            path = "workers/scripts/hello/content"
            body, content_type = form({"main_module": "worker"}, ("worker", code() + b"\0\0"))
            answer = staging.rest().ask("PUT", path, body, Content_Type=content_type)
            self.assertEqual(answer.status, 200, answer.text)
            self.assertRegex(production.edge("promote", "staging", "production", *arguments, code=1), "`edge deploy` it there first")
            done = edge("diff", "staging", "production", cwd=staging.project.directory)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn('- domain = "staging.example"\n+ domain = "production.example"\n', done.stdout)


class Triggers(unittest.TestCase):
    seconds = 30

    def test_routes_and_crons_alone(self):
        with Platform() as platform:
            version = platform.releases()[0]["versions"]["hello"]
            self.assertEqual(platform.edge("triggers", "deploy"), "no changes\n")
            platform.project.edit("wrangler-like.toml", 'routes = ["{domain}/*"]',
                                  'routes = ["{domain}/*", "more.example/*"]\ncrons = ["5 4 * * *"]')
            platform.set("later")
            shown = platform.edge("triggers", "deploy")
            self.assertEqual(shown, "+ route more.example/* (hello)\n+ cron 5 4 * * * (hello)\n")
            self.assertEqual(platform.served(host="more.example"), "one")
            self.assertEqual(platform.releases()[0]["versions"]["hello"], version)


class Api(unittest.TestCase):
    """The API below the commands, as other clients call it."""

    seconds = 30

    @classmethod
    def setUpClass(cls):
        cls.platform = cls.enterClassContext(Platform())
        cls.rest = cls.platform.rest()
        with open(product("HelloWorker"), "rb") as file:
            cls.code = file.read()
        cls.hash = hashlib.sha256(cls.code).hexdigest()

    def bundle(self, members, order=None):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name, content in members:
                if isinstance(content, tarfile.TarInfo):
                    archive.addfile(content)
                    continue
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return buffer.getvalue()

    def members(self, value="by hand"):
        return [("wrangler-like.toml", (SHAPE.replace("one", value)).encode()),
                ("environments/staging.toml", environment().encode()),
                ("products", f"{self.hash}  HelloWorker\n".encode())]

    def post(self, archive=None, **options):
        boundary = "boundary"
        parts = [b'--boundary\r\nContent-Disposition: form-data; name="options"\r\n\r\n'
                 + json.dumps(options).encode() + b"\r\n"]
        if archive is not None:
            parts.append(b'--boundary\r\nContent-Disposition: form-data; name="bundle"; filename="b.tar"\r\n\r\n'
                         + archive + b"\r\n")
        return self.rest.ask("POST", "edge/deployments", b"".join(parts) + b"--boundary--\r\n",
                             Content_Type=f"multipart/form-data; boundary={boundary}")

    def test_artifacts(self):
        self.assertEqual(self.rest.failure("GET", f"edge/artifacts/{'0' * 64}"), (404, 11404))
        self.assertEqual(self.rest.failure("GET", "edge/artifacts/x"), (400, 10026))
        self.assertEqual(self.rest.ask("PUT", f"edge/artifacts/{'0' * 64}", self.code).status, 400)
        self.assertEqual(self.rest.failure("PUT", f"edge/artifacts/{'0' * 64}", b"no executable"), (400, 10021))
        self.assertEqual(self.rest.failure("GET", f"edge/artifacts/{'0' * 64}"), (404, 11404))
        for _ in range(2):
            made = self.rest.result("PUT", f"edge/artifacts/{self.hash}", self.code)
            self.assertEqual(made, {"sha256": self.hash, "size": len(self.code)})
        self.assertEqual(self.rest.ask("HEAD", f"edge/artifacts/{self.hash}").status, 200)
        self.assertEqual(self.rest.ask("GET", f"edge/artifacts/{self.hash}/content").body, self.code)

    def test_a_deployment_by_hand(self):
        self.rest.result("PUT", f"edge/artifacts/{self.hash}", self.code)
        answer = self.post(self.bundle(self.members()), message="by hand")
        self.assertEqual(answer.status, 200, answer.text)
        record = answer.json()["result"]["deployment"]
        number = record["number"]
        events, after = [], 0
        while not any(event["state"] == "active" for event in events):
            found = self.rest.result("GET", f"edge/deployments/{number}/events?after={after}&wait=true")
            events += found
            after = events[-1]["sequence"]
        self.assertEqual(self.platform.served(), "by hand")
        listed = self.rest.result("GET", "edge/deployments")
        self.assertEqual(listed[0]["number"], number)
        slots = self.rest.result("GET", "edge/slots")
        self.assertEqual((slots["active"], slots["environment"], slots["tenant"]), (record["release"], "staging", "t"))
        release = self.rest.result("GET", f"edge/releases/{record['release']}")
        self.assertEqual(release["status"], "active")
        # The same again, by its name alone.
        again = self.rest.result("POST", "edge/deployments", {"bundle": release["bundle"]})
        self.assertEqual((again["changed"], again["deployment"]), (False, None))
        # What comes out goes in again.
        archive = self.rest.ask("GET", f"edge/bundles/{release['bundle']}/archive").body
        with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
            self.assertEqual(sorted(opened.getnames()), ["environments/staging.toml", "products", "wrangler-like.toml"])
        answer = self.post(archive, bundle=release["bundle"], dry_run=True)
        self.assertEqual(answer.json()["result"]["plan"]["changed"], False, answer.text)
        stream = self.rest.ask("GET", f"edge/deployments/{number}/report")
        self.assertEqual(stream.status, 200)
        for path in ("edge/deployments/999", "edge/deployments/999/events", "edge/releases/999", "edge/deployments/0"):
            self.assertEqual(self.rest.failure("GET", path), (404, 11404), path)
        self.assertEqual(self.rest.failure("POST", "edge/deployments/999/abort"), (404, 11404))

    def test_what_is_no_bundle(self):
        def refused(members, status, code, text):
            answer = self.post(members if isinstance(members, bytes) else self.bundle(members))
            error = answer.json()["errors"][0]
            self.assertEqual((answer.status, error["code"]), (status, code), answer.text)
            self.assertIn(text, error["message"])

        good = self.members()
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        before = sorted(os.listdir(os.path.join(self.platform.state, "bundles")))
        for path in ("../up", "/etc/x", "a/../../b", "a//b", "./a", "a/.", "x" * 300):
            refused(good + [(path, b"x")], 400, 11401, "leads nowhere")
        refused(good + [("link", link)], 400, 11401, "link")
        refused(good + [("products", b"")], 400, 11401, "more than once")
        refused(good + [("products/x", b"")], 400, 11401, "leads nowhere")
        refused(good[1:], 400, 11401, "no wrangler-like.toml")
        refused(good[:2], 400, 11401, "list of executables")
        refused(good[:2] + [("products", b"../../etc/passwd  HelloWorker\n")], 400, 11400, "list of executables")
        refused(good[:2] + [("products", b"0" * 64 + b"  HelloWorker\n")], 400, 11403, "HelloWorker")
        refused(self.bundle(good)[:700], 400, 11401, "cut short")
        refused(b"no archive at all" * 100, 400, 11401, "no tape archive")
        self.assertFalse(os.path.exists(os.path.join(self.platform.state, "bundles", "up")))
        self.assertEqual(self.post(None).status, 400)
        self.assertEqual(self.post(None, bundle="0" * 64).status, 404)
        self.assertEqual(self.post(self.bundle(good), bundle="0" * 64).json()["errors"][0]["code"], 11401)
        self.assertEqual(self.post(self.bundle(good), steps=[50, 20, 100]).json()["errors"][0]["code"], 10026)
        self.assertEqual(self.post(self.bundle(good), message=3).json()["errors"][0]["code"], 10026)
        self.assertEqual(self.rest.failure("POST", "edge/deployments", b"{"), (400, 6007))
        # Nothing of it stays.
        self.rest.result("PUT", f"edge/artifacts/{self.hash}", self.code)
        self.post(self.bundle(self.members("rehearsed")), dry_run=True)
        folder = os.path.join(self.platform.state, "bundles")
        wait_until(lambda: set(os.listdir(folder)) <= set(before) | {
            release["bundle"] for release in self.rest.result("GET", "edge/releases")}, what=lambda: os.listdir(folder))

    def test_another_tenants_executables_are_not_to_be_had(self):
        self.rest.result("PUT", f"edge/artifacts/{self.hash}", self.code)
        self.rest.result("POST", "/accounts", {"name": "stranger"})
        stranger = Rest(self.platform.running, "stranger")
        self.assertEqual(stranger.failure("GET", f"edge/artifacts/{self.hash}"), (404, 11404))
        self.assertEqual(stranger.failure("GET", f"edge/artifacts/{self.hash}/content"), (404, 11404))
        bundle = self.rest.result("GET", "edge/releases")[0]["bundle"]
        self.assertEqual(stranger.failure("GET", f"edge/bundles/{bundle}/archive"), (404, 11404))
        self.assertEqual(stranger.failure("POST", "edge/deployments", {"bundle": bundle}), (404, 11404))

    def test_events_as_a_stream(self):
        self.rest.result("PUT", f"edge/artifacts/{self.hash}", self.code)
        record = self.post(self.bundle(self.members("streamed")), steps=[50, 100], pause_at=50).json()["result"]["deployment"]
        lines = []

        def read():
            answer = self.rest.ask("GET", f"edge/deployments/{record['number']}/events/stream")
            lines.extend(json.loads(line) for line in answer.text.splitlines() if line)

        reader = threading.Thread(target=read)
        reader.start()
        wait_until(lambda: self.rest.result("GET", f"edge/deployments/{record['number']}")["pause"], 60, "the pause")
        self.rest.result("POST", f"edge/deployments/{record['number']}/abort")
        reader.join(60)
        self.assertEqual([event["sequence"] for event in lines], list(range(1, len(lines) + 1)))
        self.assertEqual(lines[-1]["state"], "rolled-back")


class Versions(unittest.TestCase):
    """Probe 3."""

    seconds = 30

    def test_probe_3_shares_of_versions(self):
        with Platform() as platform:
            first = platform.releases()[0]["versions"]["hello"]
            platform.set("two")
            platform.deploy()
            second = platform.releases()[0]["versions"]["hello"]
            self.assertIn("not to 120", platform.edge("releases", "deploy", f"{first}@60", f"{second}@60", "-y", code=64))
            third = first[:-4] + "ffff"
            self.assertIn(
                "Too many versions selected. You can deploy at most 2 version(s) at a time. Please remove some versions and try "
                "again.", platform.edge("releases", "deploy", first, second, third, "-y", code=1))
            self.assertIn("nonsense is not a valid Version ID. Version IDs must be UUIDs.",
                          platform.edge("releases", "deploy", "nonsense@100", "-y", code=1))
            platform.edge("releases", "deploy", f"{first}@100", f"{second}@0", "-y")
            self.assertEqual(platform.served(), "one")


if __name__ == "__main__":
    unittest.main()
