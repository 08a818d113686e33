"""The command line: help, exit codes, messages, and what each command leaves behind."""

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

COMMANDS = ["dev", "serve", "run", "check", "config", "secret", "status", "trigger", "doctor"]
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
        self.assertUsage(edge("status"), "--control URL is missing")
        self.assertUsage(edge("status", "--control", "nonsense"), "expected http://HOST:PORT")
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


class Secrets(unittest.TestCase):
    VALUE = "correct-horse-battery-staple-0123456789"

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="edge-secret-")
        self.key = os.path.join(self.folder, "keys/staging.key")
        self.state = os.path.join(self.folder, "state")

    def secret(self, *arguments, input=None):
        return edge("secret", *arguments, "--env", "staging", "--state", self.state, "--key-file", self.key, input=input)

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

    def test_a_key_that_others_can_read_is_refused(self):
        self.assertEqual(self.secret("put", "A", input="value").returncode, 0)
        os.chmod(self.key, 0o640)
        done = self.secret("put", "B", input="value")
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"chmod 600 {self.key}", done.stderr)
        os.chmod(self.key, 0o600)
        with open(self.key, "ab") as file:
            file.write(b"x")
        self.assertIn("must hold 32 bytes and has 33", self.secret("list").stderr)

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
            self.secret("put", "JWT_KEY", input="for all\n")
            self.secret("put", "JWT_KEY", "--worker", "hello", input="its own\n")
            self.secret("put", "PEM", input=pem + "\n")
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
            self.secret("put", "FLAG", input="secret")
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
            self.assertIn('"edge-state 2"; this version knows "edge-state 1"', done.stderr)

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

    def test_a_binding_that_the_node_cannot_serve(self):
        shape = SHAPE + 'vectorize = [{ binding = "SIMILAR", resource = "similar", dimensions = 3, metric = "cosine" }]\n'
        with Project(shape, {"staging": STAGING}) as project:
            for command in (["dev", "--no-build", "--no-watch"],
                            ["serve", "--environment", "staging", "--key-file", project.path("key")]):
                text = self.refused(*command, code=2, cwd=project.directory)
                self.assertRegex(text, r'wrangler-like\.toml:7:\d+: worker "hello" binds "SIMILAR" \(.+\), which this node '
                                 "can't serve yet")


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
            self.assertRegex(text, r"(?m)^  local/hello-worker  [0-9a-f]{12}  1 isolate, \d+ MiB$")
            # The public port is no control port.
            wrong = edge("status", "--control", node.url)
            self.assertEqual(wrong.returncode, 1)
            self.assertIn("is it the control URL", wrong.stderr)
        gone = edge("status", "--control", node.control)
        self.assertEqual(gone.returncode, 1)
        self.assertIn("Connection refused", gone.stderr)

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
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
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
