"""The command line: help, exit codes, messages, and what each command leaves behind."""

import glob
import json
import os
import re
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import unittest

from harness import READY, ROOT, Node, edge, is_alive, product, wait_until
from projects import Project

COMMANDS = ["dev", "serve", "run", "check", "config", "secret", "status", "trigger", "token", "audit", "doctor"]
PLAIN = '[workers.hello]\nproduct = "HelloWorker"\nroutes = ["{domain}/*"]\n'
SHAPE = 'format = 1\ntenant = "t"\ncompatibility_date = "2026-08-01"\n' + PLAIN
STAGING = 'format = 1\ndomain = "staging.example"\nlisten = ["127.0.0.1:0"]\n'


class Usage(unittest.TestCase):
    def assertUsage(self, done, *texts):
        self.assertEqual(done.returncode, 64, done.stderr)
        self.assertEqual(done.stdout, "")
        for text in texts:
            self.assertIn(text, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def test_every_command_has_help(self):
        overview = edge("--help")
        self.assertEqual(overview.returncode, 0)
        self.assertEqual(edge().stdout, overview.stdout)
        for name in COMMANDS:
            self.assertRegex(overview.stdout, rf"(?m)^  {name} +\S")
            helped = edge(name, "--help")
            self.assertEqual((helped.returncode, helped.stderr), (0, ""))
            self.assertTrue(helped.stdout.startswith(f"usage: edge {name}"), helped.stdout)
            self.assertEqual(edge("help", name).stdout, helped.stdout)
            self.assertEqual(edge(name, "--something", "-h").stdout, helped.stdout)
        self.assertRegex(edge("--version").stdout, r"^edge \d+\.\d+\.\d+\n$")

    def test_what_was_meant(self):
        self.assertUsage(edge("dve"), 'unknown command "dve"; did you mean "dev"?')
        self.assertUsage(edge("wholly-different"), 'unknown command "wholly-different";')
        self.assertUsage(edge("dev", "--no-biuld"), "unknown option --no-biuld; did you mean --no-build?")
        self.assertUsage(edge("dev", "-x"), "unknown option -x")
        self.assertUsage(edge("config", "shwo"), 'did you mean "config show"?')
        self.assertUsage(edge("secret", "pt", "NAME", "--env", "dev"), 'did you mean "secret put"?')
        self.assertUsage(edge("trigger", "corn", "--control", "http://x:1"), 'did you mean "trigger cron"?')

    def test_options_that_do_not_fit(self):
        self.assertUsage(edge("dev", "--no-build=yes"), "--no-build takes no value")
        self.assertUsage(edge("dev", "--state"), "--state DIRECTORY: the value is missing")
        self.assertUsage(edge("dev", "--state", "a", "--state", "b"), "given more than once")
        self.assertUsage(edge("dev", "extra"), 'unexpected argument "extra"')
        self.assertUsage(edge("check", "extra"), 'unexpected argument "extra"')
        self.assertUsage(edge("config", "show", "dev", "staging"), 'unexpected argument "staging"')
        self.assertUsage(edge("config", "diff", "dev"), "config diff A B")
        self.assertUsage(edge("serve"), "--environment ENVIRONMENT is missing")
        self.assertUsage(edge("status", "--remote", "nonsense"), "expected http://HOST:PORT")
        self.assertUsage(edge("run"), "EXECUTABLE is missing")

    def test_values_that_do_not_fit(self):
        for option, value, expected in [
            ("--listen", "nonsense", "expected HOST:PORT"), ("--listen", "example.com:80", "expected HOST:PORT"),
            ("--listen", "127.0.0.1:70000", "expected HOST:PORT"), ("--control", "x", "expected HOST:PORT"),
            ("--reactors", "0", "expected an integer from 1 to 64"), ("--log-level", "loud", "expected trace"),
            ("--log-format", "xml", "text or json"), ("--memory", "5", "a size with a unit"),
            ("--cpu", "5", "a duration with a unit"),
        ]:
            done = edge("run", product("HelloWorker"), option, value)
            self.assertUsage(done, f"{option} {value}", expected)


class Configurations(unittest.TestCase):
    def test_check_shows_the_place_the_line_and_what_to_do(self):
        with Project(SHAPE + 'cpu = 1\n[workers.other]\nproduct = 5\n', {"staging": STAGING}) as project:
            done = edge("check", cwd=project.directory)
            self.assertEqual(done.returncode, 2)
            found = re.findall(r"(?m)^(wrangler-like\.toml):(\d+):(\d+): error: (.*)$", done.stderr)
            self.assertEqual([(line, column) for _, line, column, _ in found], [("7", "1"), ("9", "11")], done.stderr)
            self.assertRegex(done.stderr, r"(?m)^ +7 \| cpu = 1\n +\| \^\^\^$")
            # The same as JSON, from another folder.
            done = edge("check", "--json", "--project", project.directory)
            self.assertEqual(done.returncode, 2)
            findings = json.loads(done.stdout)
            self.assertEqual([(item["line"], item["column"], item["severity"]) for item in findings],
                             [(7, 1, "error"), (9, 11, "error")])
            self.assertEqual(set(findings[0]) & {"file", "length", "path", "code", "message"},
                             {"file", "length", "path", "code", "message"})

    def test_check_finds_faults_of_all_environments(self):
        # Acceptance probe 19 of the configuration.
        with Project(SHAPE, {"production": STAGING + "[workers.helo]\nenabled = false\n"}) as project:
            done = edge("config", "check", cwd=project.directory)
            self.assertEqual(done.returncode, 2)
            self.assertIn('environments/production.toml:4:10: error', done.stderr)
            self.assertIn('did you mean "hello"?', done.stderr)

    def test_nothing_to_find(self):
        self.assertEqual((edge("check").returncode, edge("check").stdout), (0, "no findings\n"))
        self.assertEqual(json.loads(edge("check", "--json").stdout), [])

    def test_outside_a_project(self):
        with tempfile.TemporaryDirectory() as folder:
            for command in (["check"], ["dev", "--no-build"], ["config", "show"]):
                done = edge(*command, cwd=folder)
                self.assertEqual(done.returncode, 2)
                self.assertIn("wrangler-like.toml", done.stderr)
                self.assertIn("run edge in the project's folder", done.stderr)

    def test_show_tells_where_each_value_comes_from(self):
        # Acceptance probe 18 of the configuration.
        done = edge("config", "show", "--env", "production", "--origin")
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(os.path.join(ROOT, "environments/production.toml")) as file:
            line = next(number for number, text in enumerate(file, 1) if "max = 16" in text)
        self.assertRegex(
            done.stdout,
            rf"(?m)^workers\.api-gateway\.isolates\.max = 16  \(environments/production\.toml:{line}:\d+\)$")
        self.assertRegex(done.stdout, r"(?m)^workers\.auth-service\.product = \"AuthService\"  \(wrangler-like\.toml:\d+:")
        self.assertEqual(edge("config", "show", "production", "--origin").stdout, done.stdout)
        self.assertNotIn("wrangler-like.toml:", edge("config", "show", "production").stdout)
        self.assertEqual(edge("config", "show", "nowhere").returncode, 2)

    def test_diff_shows_what_two_environments_do_not_share(self):
        done = edge("config", "diff", "staging", "production")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("deploy.steps: [100] -> [5, 25, 50, 100]\n", done.stdout)
        self.assertIn('domain: "staging.mustbeviral.example" -> "mustbeviral.example"\n', done.stdout)
        self.assertNotIn("product", done.stdout)
        self.assertEqual(edge("config", "diff", "staging", "staging").stdout, "")

    def test_set_is_for_dev_alone(self):
        done = edge("serve", "--environment", "staging", "--set", "domain=x")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--set works in dev only", done.stderr)


    def test_show_and_diff_as_JSON(self):
        settings = {item["path"]: item for item in json.loads(edge("config", "show", "production", "--json").stdout)}
        self.assertEqual(set(settings["domain"]), {"path", "value", "file", "line", "column"})
        self.assertEqual(settings["workers.api-gateway.isolates.max"]["value"], 16)
        self.assertEqual(settings["workers.api-gateway.isolates.max"]["file"], "environments/production.toml")
        self.assertEqual(settings["listen"]["value"], ["0.0.0.0:8080"])
        self.assertIsNone(settings["error_pages"]["file"])
        changes = {item["path"]: item for item in
                   json.loads(edge("config", "diff", "staging", "production", "--json").stdout)}
        self.assertEqual(changes["domain"]["old"]["value"], "staging.mustbeviral.example")
        self.assertEqual(changes["domain"]["new"]["file"], "environments/production.toml")
        self.assertEqual(changes["log.level"]["old"]["file"], "environments/staging.toml")
        # What no file says has no place.
        self.assertIsNone(changes["deploy.steps"]["old"]["line"])
        self.assertEqual(json.loads(edge("config", "diff", "staging", "staging", "--json").stdout), [])

    def test_a_project_is_found_from_the_folders_below(self):
        with Project(SHAPE, {"staging": STAGING}) as project:
            os.makedirs(project.path("deep/er"))
            for command in (["check"], ["config", "show"], ["config", "diff", "dev", "staging"]):
                above, below = (edge(*command, cwd=cwd) for cwd in (project.directory, project.path("deep/er")))
                self.assertEqual((below.returncode, below.stdout), (0, above.stdout), below.stderr)
            self.assertEqual(edge("config", "check", cwd=project.path("deep/er")).stdout, "no findings\n")
            # What is nearer counts, and in one folder ours before wrangler's.
            project.write("deep/wrangler.toml", 'name = "w"\nmain = "W"\nfoo = 1\ncompatibility_date = "2026-08-01"\n')
            self.assertIn('wrangler.toml:3:1: warning: foo', edge("check", cwd=project.path("deep/er")).stderr)
            refused = edge("config", "show", cwd=project.path("deep/er"))
            self.assertEqual(refused.returncode, 64)
            self.assertIn("edge config import", refused.stderr)
            project.write("wrangler.toml", "nonsense")
            self.assertEqual(edge("check", cwd=project.directory).stdout, "no findings\n")

    def test_local_values_are_checked(self):
        with Project(SHAPE, dev_vars="A=1\nnot a pair\n") as project:
            for command in (["check"], ["dev", "--no-build"]):
                done = edge(*command, cwd=project.directory)
                self.assertEqual(done.returncode, 2)
                self.assertIn(".dev.vars:2:1: error: expected KEY=value", done.stderr)
                self.assertNotIn("not a pair", done.stderr)

    def test_what_this_version_does_not_serve(self):
        with Project(SHAPE + 'ai = { binding = "AI" }\n', {"staging": STAGING + '[retention]\nlogs = "1d"\n'}) as project:
            for command in (["check"], ["serve", "--environment", "staging"]):
                done = edge(*command, cwd=project.directory)
                self.assertEqual(done.returncode, 2)
                self.assertRegex(done.stderr, r'error: workers\.hello\.AI: .* binds "AI" .*, which this node can\'t serve yet')
                self.assertIn('environments/staging.toml:5:8: warning: retention.logs: "retention.logs" has no effect', done.stderr)

    def test_a_key_of_very_many_parts(self):
        with Project("[" + ".".join("a" * 5000) + "]\n") as project:
            done = edge("check", cwd=project.directory)
            self.assertEqual(done.returncode, 2)
            self.assertIn("wrangler-like.toml:1:201: error: a key has at most 100 parts", done.stderr)


class Wrangler(unittest.TestCase):
    """Acceptance probes 1 to 5 and 14 of the configuration, by way of the command line."""

    TOP = 'name = "api"\nmain = "HelloWorker"\ncompatibility_date = "2026-08-01"\n'

    def setUp(self):
        self.project = Project("")
        os.unlink(self.project.path("wrangler-like.toml"))
        self.addCleanup(self.project.__exit__)

    def check(self, text, *arguments, code=0):
        self.project.write("wrangler.toml", text)
        done = edge("check", "-c", self.project.path("wrangler.toml"), *arguments)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stderr

    def imported(self, text, *arguments, code=0):
        self.project.write("wrangler.toml", text)
        done = edge("config", "import", *arguments, cwd=self.project.directory)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout

    def test_probe_1_variables_are_not_inherited(self):
        text = self.TOP + "[vars]\nA = 1\n[env.staging]\n"
        self.assertIn('"vars" exists at the top level, but not on "env.staging"', self.check(text, "--env", "staging"))
        self.assertNotIn("A = 1", self.imported(text, "--env", "staging"))
        self.assertIn("[workers.api.vars]\nA = 1\n", self.imported(text))

    def test_probe_2_an_environment_is_a_worker_of_its_own(self):
        text = self.TOP + '[env.staging]\n[env.own]\nname = "x"\n'
        self.assertIn("[workers.api-staging]\n", self.imported(text, "--env", "staging"))
        self.assertIn("[workers.x]\n", self.imported(text, "--env", "own"))

    def test_probe_3_an_environment_that_is_not_there(self):
        expected = 'No environment found in configuration with name "prod".'
        self.assertIn(expected, self.check(self.TOP + "[env.staging]\n", "--env", "prod", code=2))
        self.assertIn("warning: env.prod: " + expected, self.check(self.TOP, "--env", "prod"))

    def test_probes_4_and_5_keys_and_names(self):
        text = self.TOP + 'route = "a.com/*"\nroutes = ["b.com/*"]\n'
        self.assertIn('Expected exactly one of the following fields ["routes","route"].', self.check(text, code=2))
        self.assertIn('4:1: warning: foo: Unexpected fields found in top-level field: "foo"',
                      self.check(self.TOP + "foo = 1\n"))
        text = self.TOP.replace('"api"', '"Api_Gateway!"')
        self.assertIn("wrangler.toml:1:8: error: name: ", self.check(text, code=2))

    def test_probe_14_local_values_of_an_environment_stand_alone(self):
        self.project.write(".dev.vars", "A=of dev\n")
        self.project.write(".dev.vars.staging", "B=of staging\n")
        text = self.TOP + '[env.staging]\nvars = { A = "given" }\n'
        self.project.write("wrangler.toml", text)
        command = ["dev", "--no-build", "-c", self.project.path("wrangler.toml")]
        state = self.project.path("state")
        with Node(*command, "--env", "staging", state=state) as node:
            host = "api-staging.localhost"
            self.assertEqual(node.get("/variable/A", host=host).text, "given")
            self.assertEqual(node.get("/secret-length/B", host=host).text, str(len("of staging")))
        with Node(*command, state=state) as node:
            self.assertEqual(node.get("/secret-length/A", host="api.localhost").text, str(len("of dev")))
            self.assertNotEqual(node.get("/secret-length/B", host="api.localhost").text, str(len("of staging")))

    def test_what_is_imported_serves(self):
        self.project.write("wrangler.toml", self.TOP + '[vars]\nGREETING = "hi"\n')
        done = edge("config", "import", "--write", cwd=self.project.directory)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(edge("check", cwd=self.project.directory).stdout, "no findings\n")
        with self.project.dev() as node:
            self.assertEqual(node.get("/variable/GREETING", host="api.localhost").text, "hi")
        again = edge("config", "import", "--write", cwd=self.project.directory)
        self.assertEqual(again.returncode, 2)
        self.assertIn("wrangler-like.toml exists", again.stderr)

    def test_options_that_do_not_fit(self):
        with Project(SHAPE) as ours:
            done = edge("check", "--env", "staging", cwd=ours.directory)
            self.assertEqual(done.returncode, 64)
            self.assertIn("it goes with a file in wrangler's format", done.stderr)
            self.assertEqual(edge("config", "import", cwd=ours.directory).returncode, 2)
        self.assertEqual(edge("check", "-c", "a", "--project", "b").returncode, 64)
        self.assertIn("can't read ./nowhere.toml", edge("check", "-c", "nowhere.toml").stderr)


class Secrets(unittest.TestCase):
    VALUE = "correct-horse-battery-staple-0123456789"

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="edge-secret-")
        self.key = os.path.join(self.folder, "keys/staging.key")
        self.state = os.path.join(self.folder, "state")

    def secret(self, *arguments, input=None, cwd=None):
        return edge("secret", *arguments, "--env", "staging", "--state", self.state, "--key-file", self.key, input=input,
                    cwd=cwd)

    def test_secrets_are_kept_and_never_shown(self):
        self.assertEqual(self.secret("list").stdout, "")
        done = self.secret("put", "JWT_KEY", input=self.VALUE + "\n")
        self.assertEqual((done.returncode, done.stdout), (0, "stored JWT_KEY\n"), done.stderr)
        self.assertEqual(self.secret("put", "OWN", "--worker", "auth", input=self.VALUE).returncode, 0)
        self.assertEqual(self.secret("list").stdout, "JWT_KEY\t*\nOWN\tauth\n")
        self.assertEqual(json.loads(self.secret("list", "--json").stdout),
                         [{"name": "JWT_KEY", "worker": "*"}, {"name": "OWN", "worker": "auth"}])
        self.assertEqual(stat.S_IMODE(os.stat(self.key).st_mode), 0o600)
        for folder, _, files in os.walk(self.folder):
            for name in files:
                with open(os.path.join(folder, name), "rb") as file:
                    self.assertNotIn(self.VALUE.encode(), file.read(), name)
        self.assertEqual(self.secret("delete", "JWT_KEY").stdout, "deleted JWT_KEY\n")
        again = self.secret("delete", "JWT_KEY")
        self.assertEqual((again.returncode, again.stderr), (1, "edge secret: there is no secret JWT_KEY\n"))

    def test_the_key_can_be_changed(self):
        self.assertEqual(self.secret("rotate-key").returncode, 1)
        self.assertFalse(os.path.exists(self.key))
        for name in ["A", "B"]:
            self.assertEqual(self.secret("put", name, input=self.VALUE).returncode, 0)
        old = open(self.key, "rb").read()
        done = self.secret("rotate-key")
        self.assertEqual((done.returncode, done.stdout), (0, "sealed 2 secrets with a new key\n"), done.stderr)
        self.assertNotEqual(open(self.key, "rb").read(), old)
        self.assertEqual(stat.S_IMODE(os.stat(self.key).st_mode), 0o600)
        self.assertEqual(os.listdir(os.path.dirname(self.key)), ["staging.key"])
        self.assertEqual(self.secret("put", "C", input="value").returncode, 0)
        # With the old key nothing goes on.
        with open(self.key, "wb") as file:
            file.write(old)
        self.assertIn("secrets are stored under another key", self.secret("put", "D", input="value").stderr)

    def test_the_key_can_come_from_the_environment(self):
        def secret(*arguments, **keys):
            return edge("secret", *arguments, "--env", "staging", "--state", self.state, input="value",
                        env={**os.environ, "HOME": self.folder, **keys})

        one, two = "0123456789abcdefABCDEF9876543210" * 2, "1f" * 32
        self.assertEqual(secret("put", "A", EDGE_SECRET_KEY=one).returncode, 0)
        self.assertEqual(os.listdir(self.folder), ["state"])
        for bad in ["1f" * 31, "1f" * 31 + "zz", "é" * 64]:
            self.assertIn("EDGE_SECRET_KEY must have 64 hex digits", secret("put", "B", EDGE_SECRET_KEY=bad).stderr)
        self.assertIn("another key than EDGE_SECRET_KEY", secret("put", "B", EDGE_SECRET_KEY=two).stderr)
        both = {"EDGE_SECRET_KEY": two, "EDGE_SECRET_KEY_PREVIOUS": one}
        # Until it is changed, both serve.
        self.assertEqual(secret("put", "B", **both).returncode, 0)
        self.assertEqual(secret("rotate-key", **both).stdout, "sealed 2 secrets with a new key\n")
        self.assertEqual(secret("put", "C", EDGE_SECRET_KEY=two).returncode, 0)
        self.assertNotEqual(secret("put", "D", EDGE_SECRET_KEY=one).returncode, 0)

    def test_a_key_that_others_can_read_is_refused(self):
        self.assertEqual(self.secret("put", "A", input="value").returncode, 0)
        os.chmod(self.key, 0o640)
        done = self.secret("put", "B", input="value")
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"chmod 600 {self.key}", done.stderr)
        os.chmod(self.key, 0o600)
        with open(self.key, "ab") as file:
            file.write(b"x")
        self.assertIn(f"{self.key} must hold 32 bytes and has 33", self.secret("put", "B", input="value").stderr)
        # Names are no secret.
        self.assertEqual(self.secret("list").stdout, "A\t*\n")

    def test_a_lost_or_wrong_key_is_named_and_no_new_one_is_made(self):
        with Project(SHAPE + 'secrets = ["KEY"]\n', {"staging": STAGING}) as project:
            self.assertEqual(self.secret("put", "KEY", input="value", cwd=project.directory).returncode, 0)
            os.rename(self.key, self.key + ".old")
            command = ["serve", "--environment", "staging", "--products", project.path(".build/debug"), "--state",
                       self.state, "--key-file", self.key, "--control", "127.0.0.1:0"]
            for done in (self.secret("put", "OTHER", input="value", cwd=project.directory),
                         edge(*command, cwd=project.directory)):
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(f"{self.key}, the key of the stored secrets, does not exist", done.stderr)
                self.assertFalse(os.path.exists(self.key))
            with open(self.key, "wb") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(bytes(32))
            done = edge(*command, cwd=project.directory)
            self.assertIn(f"the secret KEY can't be opened with the key in {self.key}", done.stderr)

    def test_mistakes_make_nothing(self):
        with Project(SHAPE, {"staging": STAGING}) as project:
            done = edge("secret", "put", "A", "--env", "stagin", "--state", self.state, "--key-file", self.key,
                        cwd=project.directory, input="x")
            self.assertEqual(done.returncode, 2)
            self.assertIn("environments/stagin.toml does not exist", done.stderr)
            self.assertIn('did you mean "staging"?', done.stderr)
            done = edge("secret", "put", "A", "--env", "dev", "--state", self.state, cwd=project.directory, input="x")
            self.assertEqual((done.returncode, done.stderr), (2, "edge secret: in dev, secrets come from .dev.vars\n"))
            self.assertEqual(self.secret("list", cwd=project.directory).stdout, "")
            self.assertEqual(self.secret("delete", "A", cwd=project.directory).returncode, 1)
            self.assertEqual(self.secret("put", "A", input="", cwd=project.directory).returncode, 64)
            self.assertEqual(self.secret("put", cwd=project.directory).returncode, 64)
            self.assertEqual(os.listdir(self.folder), [])
            self.assertEqual(self.secret("put", "A", input="x", cwd=project.directory).returncode, 0)
            for folder in (self.state, os.path.dirname(self.key)):
                self.assertEqual(stat.S_IMODE(os.stat(folder).st_mode), 0o700)
        with tempfile.TemporaryDirectory() as elsewhere:
            done = self.secret("list", cwd=elsewhere)
            self.assertEqual(done.returncode, 2)
            self.assertIn("or name the --tenant", done.stderr)
            self.assertEqual(self.secret("list", "--tenant", "t", cwd=elsewhere).stdout, "A\t*\n")

    def test_values_come_from_standard_input_alone(self):
        done = self.secret("put", "NAME", "value", input="")
        self.assertEqual(done.returncode, 64)
        self.assertIn('unexpected argument "value"', done.stderr)
        self.assertEqual(self.secret("put", "NAME", input="").returncode, 64)
        self.assertEqual(self.secret("put", "a name", input="x").returncode, 64)
        self.assertEqual(self.secret("put", input="x").returncode, 64)
        done = self.secret("put", "LONG", input="x" * 5121)
        self.assertEqual(done.returncode, 1)
        self.assertIn("5120", done.stderr)

    def test_serve_wants_all_secrets_and_gives_them_whole(self):
        pem = "-----BEGIN KEY-----\nAAAA\n-----END KEY-----"
        shape = SHAPE + 'secrets = ["JWT_KEY", "PEM"]\n'
        with Project(shape, {"staging": STAGING}) as project:
            command = ["serve", "--environment", "staging", "--products", project.path(".build/debug"),
                       "--key-file", self.key]
            with self.assertRaises(RuntimeError) as refused, Node(*command, cwd=project.directory, state=self.state):
                pass
            self.assertIn("ended with 2", str(refused.exception))
            self.assertIn('worker "hello" needs the secrets JWT_KEY, PEM: set with `edge secret put NAME`',
                          str(refused.exception))
            self.secret("put", "JWT_KEY", input="for all\n", cwd=project.directory)
            self.secret("put", "JWT_KEY", "--worker", "hello", input="its own\n", cwd=project.directory)
            self.secret("put", "PEM", input=pem + "\n", cwd=project.directory)
            with Node(*command, cwd=project.directory, state=self.state) as node:
                self.assertEqual(node.get("/secret-length/JWT_KEY", host="staging.example").text, str(len("its own")))
                self.assertEqual(node.get("/secret-length/PEM", host="staging.example").text, str(len(pem)))
                self.assertEqual(node.get("/hello", host="elsewhere.example").status, 404)
                # Not an error page for developers, and no triggers for everybody.
                failure = node.get("/error", host="staging.example")
                self.assertEqual((failure.status, "always fails" in failure.text), (500, False))
                self.assertEqual(node.get("/cdn-cgi/handler/scheduled").status, 404)
                for text in ("its own", "BEGIN KEY"):
                    self.assertNotIn(text, node.log_text())
                    for pid in node.isolate_pids():
                        with open(f"/proc/{pid}/cmdline") as line:
                            self.assertNotIn(text, line.read())
                        with open(f"/proc/{pid}/environ") as line:
                            self.assertEqual(line.read(), "")

    def test_a_variable_named_like_a_stored_secret_is_refused(self):
        # Acceptance probe 16 of the configuration.
        with Project(SHAPE + 'vars = { FLAG = "on" }\n', {"staging": STAGING}) as project:
            self.secret("put", "FLAG", input="secret", cwd=project.directory)
            done = edge("serve", "--environment", "staging", "--products", project.path(".build/debug"), "--state",
                        self.state, "--key-file", self.key, "--control", "127.0.0.1:0", cwd=project.directory)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn('has a variable FLAG, and there is a secret of this name', done.stderr)


class Starting(unittest.TestCase):
    def refused(self, *arguments, code, cwd=None):
        with tempfile.TemporaryDirectory() as state:
            done = edge(*arguments, "--state", state, "--control", "127.0.0.1:0", "--listen", "127.0.0.1:0", cwd=cwd)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertNotIn("ready", done.stdout)
        return done.stderr

    def test_the_ready_line(self):
        with tempfile.TemporaryDirectory() as state:
            command = [product("edge"), "run", product("HelloWorker"), "--listen", "127.0.0.1:0", "--listen",
                       "127.0.0.1:0", "--control", "127.0.0.1:0", "--state", state]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
                line = process.stdout.readline()
                process.terminate()
                rest = process.stdout.read()
        self.assertRegex(line, r"^ready http://localhost:\d+ control http://127\.0\.0\.1:\d+\n$")
        self.assertEqual(rest, "")
        self.assertEqual(process.returncode, 0)

    def test_a_port_in_use(self):
        with Node("run", product("HelloWorker")) as node, tempfile.TemporaryDirectory() as state:
            for option, port in (("--listen", node.port), ("--control", node.control_port)):
                others = {"--listen": "127.0.0.1:0", "--control": "127.0.0.1:0", option: f"127.0.0.1:{port}"}
                done = edge("run", product("HelloWorker"), "--state", state,
                            *[word for pair in others.items() for word in pair], timeout=20)
                self.assertEqual(done.returncode, 75, done.stderr)
                self.assertIn(f"127.0.0.1:{port}: Address already in use", done.stderr)
        with socket.create_server(("127.0.0.1", 0)) as other, tempfile.TemporaryDirectory() as state:
            done = edge("run", product("HelloWorker"), "--state", state, "--control", "127.0.0.1:0", "--listen",
                        f"127.0.0.1:{other.getsockname()[1]}", timeout=20)
            self.assertEqual(done.returncode, 75)

    def test_a_state_directory_in_use(self):
        with Node("run", product("HelloWorker")) as node:
            done = edge("run", product("HelloWorker"), "--state", node.state, "--listen", "127.0.0.1:0", timeout=20)
            self.assertEqual(done.returncode, 75)
            self.assertIn(f"{node.state} is in use by another node; stop it, or choose another --state", done.stderr)
            self.assertEqual(node.get("/hello").text, "hello")
            node.kill()
            # A node that was killed holds nothing.
            with Node("run", product("HelloWorker"), state=node.state) as second:
                self.assertEqual(second.get("/hello").text, "hello")

    def test_a_state_of_a_later_version(self):
        with tempfile.TemporaryDirectory() as state:
            with open(os.path.join(state, "format"), "w") as file:
                file.write("edge-state 2\n")
            done = edge("run", product("HelloWorker"), "--state", state, "--listen", "127.0.0.1:0", timeout=20)
            self.assertEqual(done.returncode, 1)
            self.assertIn(state + ' was written in the format "edge-state 2"; this version knows "edge-state 1"', done.stderr)

    def test_a_store_of_a_later_version(self):
        with tempfile.TemporaryDirectory() as state:
            with Node("run", product("HelloWorker"), state=state):
                formats = glob.glob(state + "/*/*/format")
            names = sorted(os.path.basename(os.path.dirname(path)) for path in formats)
            self.assertEqual(names, ["analytics", "cache", "d1", "kv", "objects", "queues", "r2"])
            for path in formats:
                with self.subTest(path=path):
                    with open(path) as file:
                        was = file.read()
                    with open(path, "w") as file:
                        file.write("edge-later 99\n")
                    done = edge("run", product("HelloWorker"), "--state", state, "--listen", "127.0.0.1:0", timeout=20)
                    self.assertEqual(done.returncode, 1)
                    self.assertIn(
                        f'{os.path.dirname(path)} was written in the format "edge-later 99"; this version knows '
                        f'"{was.strip()}"', done.stderr)
                    with open(path, "w") as file:
                        file.write(was)
            with Node("run", product("HelloWorker"), state=state) as node:
                self.assertEqual(node.get("/hello").status, 200)

    def test_executables_that_are_none(self):
        text = self.refused("run", "/nowhere/Worker", code=2)
        self.assertIn('the executable of worker "worker", /nowhere/Worker, cannot be used: it does not exist', text)
        text = self.refused("run", "/etc/passwd", code=2)
        self.assertIn('the executable of worker "passwd", /etc/passwd, cannot be used', text)
        self.assertIn("it is no ELF file", text)
        text = self.refused("run", "/bin/true", code=2)
        self.assertIn('worker "true" does not start: exited with code 0', text)

    def test_a_product_that_was_not_built(self):
        with Project(SHAPE.replace("HelloWorker", "NoWorker")) as project:
            text = self.refused("dev", "--no-build", "--no-watch", code=2, cwd=project.directory)
            self.assertIn("/NoWorker, cannot be used: it does not exist; was it built?", text)

    def test_a_worker_without_the_handler_that_it_is_promised_to_have(self):
        with Project(SHAPE.replace("HelloWorker", "StoreWorker") + 'crons = ["0 3 * * *"]\n') as project:
            text = self.refused("dev", "--no-build", "--no-watch", code=2, cwd=project.directory)
            self.assertIn('worker "hello" does not handle scheduled events, but it has crons', text)

    def test_a_queue_that_cannot_be_opened(self):
        for options in (["--queue", "QUEUE=big_jobs"], ["--consume", "big_jobs"], ["--consume", "jobs=big_jobs"]):
            text = self.refused("run", product("StoreWorker"), "--kv", "KV", *options, code=2)
            self.assertIn('the queue "big_jobs" can\'t be opened', text)

    def test_a_binding_that_the_node_cannot_serve(self):
        shape = SHAPE + 'vectorize = [{ binding = "SIMILAR", resource = "similar", dimensions = 3, metric = "cosine" }]\n'
        with Project(shape, {"staging": STAGING}) as project:
            for command in (["dev", "--no-build", "--no-watch"],
                            ["serve", "--environment", "staging", "--key-file", project.path("key")]):
                text = self.refused(*command, code=2, cwd=project.directory)
                self.assertRegex(text, r'wrangler-like\.toml:7:\d+: error: .*worker "hello" binds "SIMILAR" \(.+\), which this node '
                                 "can't serve yet")


class Reloading(unittest.TestCase):
    """Acceptance probe 23 of the configuration: what a running node takes of a changed file, and when."""

    def serve(self, project):
        return Node("serve", "--environment", "staging", "--products", project.path(".build/debug"), "--key-file",
                    project.path("key"), cwd=project.directory, state=project.path("state"))

    def reload(self, node):
        count = node.log_text().count("the configuration was read again")
        node.process.send_signal(signal.SIGHUP)
        wait_until(lambda: node.log_text().count("the configuration was read again") > count, 20, node.log_text)

    def client(self, node):
        answer = node.get("/headers", host="staging.example", headers={"X-Real-IP": "1.1.1.1"})
        return next(line for line in answer.text.splitlines() if line.startswith("cf-connecting-ip: "))

    def test_a_running_node_takes_log_and_proxies_and_names_the_rest(self):
        staging = STAGING + 'log = { level = "info", format = "text" }\n'
        with Project(SHAPE, {"staging": staging}) as project, self.serve(project) as node:
            pids = node.isolate_pids()
            self.assertEqual(self.client(node), "cf-connecting-ip: 127.0.0.1")
            changed = staging.replace('"info"', '"error"') + \
                'trusted_proxies = ["127.0.0.0/8"]\n[workers.hello]\nisolates = { max = 9 }\n'
            project.write("environments/staging.toml", changed)
            # Editing alone does nothing.
            self.assertEqual(self.client(node), "cf-connecting-ip: 127.0.0.1")
            node.process.send_signal(signal.SIGHUP)
            wait_until(lambda: self.client(node) == "cf-connecting-ip: 1.1.1.1", what="the trusted proxy")
            # At the level error, no more is said.
            node.wait_for_log("applied  setting=log.level level=error")
            project.write("environments/staging.toml", changed.replace('"error"', '"debug"').replace('"text"', '"json"'))
            self.reload(node)
            self.assertIn('"setting":"workers.hello.isolates.max"', node.log_text())
            self.assertIn("needs deploy", node.log_text())
            project.write("environments/staging.toml", "domain = 5\n")
            node.process.send_signal(signal.SIGHUP)
            node.wait_for_log("nothing of it is applied")
            self.assertIn("environments/staging.toml:1:10: error", node.log_text())
            self.assertEqual(self.client(node), "cf-connecting-ip: 1.1.1.1")
            self.assertEqual(node.isolate_pids(), pids)
            self.assertEqual(node.stop(), 0)

    def test_a_running_node_moves_to_another_address(self):
        with Project(SHAPE, {"staging": STAGING}) as project, tempfile.TemporaryFile("w+") as log:
            command = [product("edge"), "serve", "--environment", "staging", "--products", project.path(".build/debug"),
                       "--state", project.path("state"), "--key-file", project.path("key"), "--control", "127.0.0.1:0"]
            with subprocess.Popen(command, cwd=project.directory, stdout=subprocess.PIPE, stderr=log, text=True) as process:
                try:
                    port = int(READY.match(process.stdout.readline()).group(1).rsplit(":", 1)[1])
                    with socket.create_connection(("127.0.0.1", port)) as kept:
                        self.assertTrue(self.ask(kept).endswith(b"hello"))
                        with socket.create_server(("127.0.0.1", 0)) as taken:
                            busy = f'"127.0.0.1:{taken.getsockname()[1]}"'
                            project.edit("environments/staging.toml", '"127.0.0.1:0"', busy)
                            process.send_signal(signal.SIGHUP)
                            self.wait_for(log, "it goes on listening where it did")
                        with socket.create_connection(("127.0.0.1", port)) as still:
                            self.assertTrue(self.ask(still).endswith(b"hello"))
                        project.edit("environments/staging.toml", busy, '"127.0.0.2:0"')
                        process.send_signal(signal.SIGHUP)
                        found = self.wait_for(log, r"setting=listen addresses=127\.0\.0\.2:(\d+)|\"127\.0\.0\.2:(\d+)\"")
                        fresh = int(found.group(1) or found.group(2))
                        with socket.create_connection(("127.0.0.2", fresh)) as moved:
                            self.assertTrue(self.ask(moved).endswith(b"hello"))
                        with self.assertRaises(ConnectionRefusedError):
                            socket.create_connection(("127.0.0.1", port))
                        # What was open stays so.
                        self.assertTrue(self.ask(kept).endswith(b"hello"))
                finally:
                    process.terminate()
                    process.stdout.read()
                self.assertEqual(process.wait(20), 0)

    def ask(self, connection):
        connection.sendall(b"GET /hello HTTP/1.1\r\nHost: staging.example\r\n\r\n")
        received = b""
        while not received.endswith(b"hello"):
            piece = connection.recv(4096)
            if not piece:
                break
            received += piece
        return received

    def wait_for(self, log, pattern):
        def text():
            with open(f"/proc/self/fd/{log.fileno()}") as file:
                return file.read()
        wait_until(lambda: re.search(pattern, text()), 20, text)
        return re.search(pattern, text())

    def test_a_hangup_of_the_terminal_ends_a_node_that_has_no_file(self):
        with Node("run", product("HelloWorker")) as node:
            pids = node.isolate_pids()
            node.process.send_signal(signal.SIGHUP)
            self.assertEqual(node.process.wait(10), 0)
            wait_until(lambda: not any(map(is_alive, pids)), what="no orphans")


class Running(unittest.TestCase):
    def test_status_for_people_and_scripts(self):
        with Node("run", product("HelloWorker")) as node:
            node.get("/hello")
            told = edge("status", "--control", node.control, "--json")
            self.assertEqual(told.returncode, 0, told.stderr)
            status = json.loads(told.stdout)
            self.assertEqual((status["environment"], status["ready"], status["draining"]), ("dev", True, False))
            self.assertEqual([worker["name"] for worker in status["workers"]], ["hello-worker"])
            self.assertEqual(len(status["workers"][0]["pids"]), status["workers"][0]["isolates"])
            text = edge("status", "--control", node.control).stdout
            self.assertRegex(text, r"^dev: ready for \d+ s\n")
            self.assertIn("\nlocal: release run\n", text)
            self.assertRegex(text, r"(?m)^  local/hello-worker  [0-9a-f-]{36}  1 isolate, \d+ MiB$")
            # The public port is no control port.
            wrong = edge("status", "--control", node.url)
            self.assertEqual(wrong.returncode, 1)
            self.assertIn("is it the control URL", wrong.stderr)
        gone = edge("status", "--control", node.control)
        self.assertEqual(gone.returncode, 1)
        self.assertIn(f"{node.control}: no node answers there", gone.stderr)

    def test_doctor_says_which_layers_are_active(self):
        told = edge("doctor", "--json")
        report = json.loads(told.stdout)
        self.assertEqual(told.returncode, 0 if report["isSafeForTenants"] else 1)
        layers = {item["layer"]: item["state"] for item in report["findings"]}
        self.assertLessEqual({"seccomp", "landlock", "no_new_privs", "uid", "rlimits"}, set(layers))
        self.assertLessEqual(set(layers.values()), {"active", "partial", "missing"})
        text = edge("doctor").stdout
        for layer in layers:
            self.assertIn(f"  {layer}: ", text)

    def test_sigterm_drains(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with Node("run", product("HelloWorker")) as node:
                pids = node.isolate_pids()
                with self.busy(node, 700) as connection:
                    node.process.send_signal(number)
                    wait_until(lambda: self.is_closed(node.port), what="no new connections")
                    self.assertTrue(self.rest(connection).endswith(b"slept"))
                self.assertEqual(node.process.wait(10), 0)
                wait_until(lambda: not any(map(is_alive, pids)), what="no orphans")

    def busy(self, node, milliseconds):
        """A connection whose second request the node works on: the answer to the first one tells that it was read."""
        connection = node.connect()
        connection.sendall(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\nGET /sleep/%d HTTP/1.1\r\nHost: a\r\n\r\n"
                           % milliseconds)
        received = b""
        while not received.endswith(b"hello"):
            received += connection.recv(4096)
        return connection

    def rest(self, connection):
        received = b""
        while piece := connection.recv(4096):
            received += piece
        return received

    def is_closed(self, port):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=10).close()
            return False
        except TimeoutError:
            # On its way to being closed: handshakes are answered no more, so that none is begun that would be reset.
            return False
        except ConnectionRefusedError:
            return True

    def test_a_drain_drops_no_request_of_clients_that_keep_coming(self):
        with Node("run", product("HelloWorker"), "--no-log-requests") as node:
            counts, failures = [0] * 6, []

            def come_again(index):
                while True:
                    try:
                        connection = node.connect()
                    except ConnectionRefusedError:
                        return
                    try:
                        with connection:
                            connection.sendall(b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                            received = self.rest(connection)
                    except OSError as error:
                        received = error
                    if not isinstance(received, bytes) or not received.endswith(b"hello"):
                        return failures.append(received)
                    counts[index] += 1

            threads = [threading.Thread(target=come_again, args=(index,)) for index in range(6)]
            for thread in threads:
                thread.start()
            wait_until(lambda: min(counts) > 20, what="load")
            node.process.send_signal(signal.SIGTERM)
            for thread in threads:
                thread.join()
            self.assertEqual(failures, [])
            self.assertEqual(node.process.wait(10), 0)

    def test_a_drain_waits_for_batches_and_background_work(self):
        bindings = ["--kv", "KV", "--queue", "QUEUE", "--consume", "queue"]
        with Node("run", product("StoreWorker"), *bindings) as node:
            node.request("POST", "/queue", body=b"slow-one")
            with Node("run", product("HelloWorker"), "--kv", "KV") as other:
                other.get("/later-put/1200/key")
                self.assertEqual(other.stop(), 0)
                with Node("run", product("HelloWorker"), "--kv", "KV", state=other.state) as again:
                    self.assertEqual(again.get("/kv/key").text, "later")
            self.assertEqual(node.stop(), 0)
            with Node("run", product("StoreWorker"), *bindings, state=node.state) as again:
                wait_until(lambda: again.get("/kv/seen/queue/slow-one").status == 200, what="the message")
                self.assertEqual(again.get("/kv/seen/queue/slow-one").text, "1")

    def test_a_second_signal_ends_at_once(self):
        with Node("run", product("HelloWorker")) as node:
            pids = node.isolate_pids()
            connection = self.busy(node, 20_000)
            node.process.send_signal(signal.SIGINT)
            node.wait_for_log("draining")
            self.assertIsNone(node.process.poll())
            node.process.send_signal(signal.SIGINT)
            self.assertEqual(node.process.wait(2), 130)
            connection.close()
            wait_until(lambda: not any(map(is_alive, pids)), what="no orphans")

    def test_a_signal_to_the_whole_group_does_not_reach_isolates(self):
        # A terminal sends its Ctrl-C to the whole group.
        with Node("run", product("HelloWorker"), session=True) as node:
            with self.busy(node, 700) as connection:
                os.killpg(node.process.pid, signal.SIGINT)
                self.assertTrue(self.rest(connection).endswith(b"slept"))
            self.assertEqual(node.process.wait(10), 0)
            self.assertNotIn(" error ", node.log_text())


if __name__ == "__main__":
    unittest.main()
