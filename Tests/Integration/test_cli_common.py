"""What the commands that manage a node have in common: finding it, tokens, tenants, tables, progress, confirmation."""

import fcntl
import http.server
import json
import os
import pty
import select
import ssl
import stat
import struct
import subprocess
import tempfile
import termios
import threading
import time
import unicodedata
import unittest

import certificates
from harness import Node, edge, product
from projects import Project


def on_terminal(*arguments, input=None, columns=100, stdin="pipe", pause=0):
    """Runs a command with a terminal of so many columns as standard output and error (and input, if `stdin` says so).

    Gives back the exit code and all that the terminal was sent."""
    leader, follower = pty.openpty()
    try:
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        process = subprocess.Popen(
            [product("edge"), *arguments], stdin=follower if stdin == "terminal" else subprocess.PIPE, stdout=follower,
            stderr=follower)
        os.close(follower)
        follower = None
        if stdin == "pipe":
            def feed():
                try:
                    for piece in input or []:
                        process.stdin.write(piece)
                        process.stdin.flush()
                        time.sleep(pause)
                    process.stdin.close()
                except BrokenPipeError:
                    pass
            threading.Thread(target=feed, daemon=True).start()
        elif input:
            os.write(leader, input)
        shown = b""
        while True:
            ready, _, _ = select.select([leader], [], [], 60)
            if not ready:
                process.kill()
                break
            try:
                piece = os.read(leader, 65536)
            except OSError:
                break
            if not piece:
                break
            shown += piece
        return process.wait(20), shown.decode()
    finally:
        os.close(leader)
        if follower is not None:
            os.close(follower)


class Finding(unittest.TestCase):
    def test_a_node_is_found_by_its_state(self):
        with Node("run", product("HelloWorker")) as node:
            told = edge("status", "--state", node.state)
            self.assertEqual(told.returncode, 0, told.stderr)
            self.assertRegex(told.stdout, r"^dev: ready for \d+ s\n")
            listed = edge("token", "list", "--state", node.state)
            self.assertEqual(listed.returncode, 0, listed.stderr)
            self.assertIn("operator", listed.stdout)
            self.assertEqual(stat.S_IMODE(os.stat(os.path.join(node.state, "control")).st_mode), 0o600)
            self.assertEqual(node.stop(), 0)
            self.assertFalse(os.path.exists(os.path.join(node.state, "control")))
            gone = edge("status", "--state", node.state)
            self.assertEqual(gone.returncode, 1)
            self.assertIn(f"no node runs with {node.state}", gone.stderr)

    def test_what_a_killed_node_left_is_recognised(self):
        with tempfile.TemporaryDirectory() as state:
            with Node("run", product("HelloWorker"), state=state) as node:
                node.kill()
                self.assertTrue(os.path.exists(os.path.join(state, "control")))
                stale = edge("status", "--state", state)
                self.assertEqual(stale.returncode, 1)
                self.assertIn(f"no node runs with {state}", stale.stderr)
            with Node("run", product("HelloWorker"), state=state) as node:
                self.assertEqual(edge("status", "--state", state).returncode, 0)

    def test_the_usual_state_is_that_of_the_project(self):
        with Project('format = 1\ntenant = "t"\ncompatibility_date = "2026-08-01"\n[workers.hello]\n'
                     'product = "HelloWorker"\nroutes = ["{domain}/*"]\n', {"dev": "format = 1\n"}) as project:
            state = project.path("state/dev")
            os.makedirs(project.path("deep/down"))
            with Node("dev", "--no-build", "--no-watch", cwd=project.directory, state=state):
                for folder in (project.directory, project.path("deep/down")):
                    done = edge("status", cwd=folder)
                    self.assertEqual(done.returncode, 0, done.stderr)
                    self.assertIn("t: release dev-1", done.stdout)

    def test_no_node_at_all(self):
        with tempfile.TemporaryDirectory() as folder:
            done = edge("token", "list", cwd=folder)
            self.assertEqual(done.returncode, 1)
            self.assertEqual(done.stderr, "edge token: no node runs here, there is no state/dev: start one (`edge dev`), or "
                                          "name one with --state DIRECTORY or --remote URL\n")

    def test_urls(self):
        with Node("run", product("HelloWorker")) as node:
            for url in (node.control, node.control + "/", node.control + "/client/v4", node.control + "/client/v4/"):
                done = edge("token", "list", "--remote", url, "--state", node.state)
                self.assertEqual(done.returncode, 0, done.stderr)
            for url in ("ftp://127.0.0.1", "http://127.0.0.1:1/elsewhere", "http://a:b@127.0.0.1:1", "http://", "x"):
                done = edge("status", "--remote", url)
                self.assertEqual(done.returncode, 64, done.stderr)
                self.assertIn("expected http://HOST:PORT", done.stderr)
            public = edge("token", "list", "--remote", node.url, "--state", node.state)
            self.assertEqual(public.returncode, 1)
            self.assertIn("is it the control URL", public.stderr)


class Tokens(unittest.TestCase):
    def test_where_the_token_comes_from(self):
        with Node("run", product("HelloWorker")) as node:
            with open(os.path.join(node.state, "operator-token")) as file:
                token = file.read().strip()
            bare = {name: value for name, value in os.environ.items() if name != "EDGE_API_TOKEN"}
            for options, environment, code in [
                (["--token", token], {}, 0), ([], {"EDGE_API_TOKEN": token}, 0), (["--token", "wrong"], {"EDGE_API_TOKEN": token}, 1),
                ([], {"EDGE_API_TOKEN": "wrong"}, 1), (["--state", node.state], {}, 0),
            ]:
                with self.subTest(options=options, environment=environment):
                    done = edge("token", "list", "--remote", node.control, *options, env={**bare, **environment})
                    self.assertEqual(done.returncode, code, done.stderr)

    def test_this_machines_token_is_not_told_to_others(self):
        done = edge("token", "list", "--remote", "http://node.example:1")
        self.assertEqual(done.returncode, 1)
        self.assertIn("http://node.example:1 needs a token", done.stderr)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as a node does; what it was sent is kept."""
    seen = []

    def do_GET(self):
        self.server.seen.append((self.command, self.path, self.headers.get("Authorization")))
        body = json.dumps({"success": True, "errors": [], "messages": [], "result": []}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Encrypted(unittest.TestCase):
    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        # Signed by itself, so that it is its own authority.
        self.authority, key = certificates.make(self.folder, "node", ["localhost"])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.authority, key)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.seen = []
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.shutdown)
        self.url = f"https://localhost:{self.server.server_address[1]}"

    def test_the_authority_is_named(self):
        done = edge("token", "list", "--remote", self.url, "--token", "T", "--ca", self.authority)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.server.seen[0][2], "Bearer T")

    def test_no_certificate_that_nobody_trusts(self):
        done = edge("token", "list", "--remote", self.url, "--token", "T")
        self.assertEqual(done.returncode, 1)
        self.assertIn("its certificate isn't trusted", done.stderr)
        self.assertIn("--ca FILE", done.stderr)
        self.assertEqual(self.server.seen, [])
        other = edge("token", "list", "--remote", self.url.replace("localhost", "127.0.0.1"), "--token", "T", "--ca",
                     self.authority)
        self.assertEqual(other.returncode, 1)
        self.assertEqual(self.server.seen, [])
        missing = edge("token", "list", "--remote", self.url, "--ca", "/nowhere")
        self.assertEqual(missing.returncode, 64)


class Tenants(unittest.TestCase):
    def test_the_only_tenant_needs_no_name(self):
        with Node("run", product("HelloWorker")) as node:
            made = edge("token", "create", "x", "--allow", "kv:read", "--state", node.state)
            self.assertEqual(made.returncode, 0, made.stderr)
            for words in ([], ["--tenant", "local"]):
                done = edge("audit", "--state", node.state, *words)
                self.assertEqual(done.returncode, 0, done.stderr)


class Nesting(unittest.TestCase):
    def test_help_of_groups_and_commands(self):
        group = edge("token", "--help")
        self.assertEqual(group.returncode, 0)
        self.assertTrue(group.stdout.startswith("usage: edge token COMMAND"), group.stdout)
        for name in ("create", "list", "revoke"):
            self.assertRegex(group.stdout, rf"(?m)^  {name} +\S")
        leaf = edge("token", "create", "--help")
        self.assertTrue(leaf.stdout.startswith("usage: edge token create NAME [OPTION...]"), leaf.stdout)
        self.assertEqual(edge("help", "token", "create").stdout, leaf.stdout)
        self.assertEqual(edge("token", "create", "x", "--allow", "-h").stdout, leaf.stdout)

    def test_mistakes_name_the_way_out(self):
        for words, text in [
            (["token"], "create, list or revoke is missing; see `edge token --help`"),
            (["token", "--json"], "create, list or revoke before --json is missing"),
            (["token", "lst"], 'unknown command "token lst"; did you mean "token list"?'),
            (["token", "list", "--jsn"], "did you mean --json?; see `edge token list --help`"),
            (["token", "revoke"], "ID is missing; see `edge token revoke --help`"),
            (["token", "revoke", "a", "b"], 'unexpected argument "b"'),
            (["help", "tokn"], 'did you mean "token"?'),
        ]:
            with self.subTest(words=words):
                done = edge(*words)
                self.assertEqual((done.returncode, done.stdout), (64, ""))
                self.assertIn(text, done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1)


class Tables(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node("run", product("HelloWorker")))
        name = "a name that is rather long, " * 4
        for word in (name, "evil\x1b[31m\nname", "字" * 20):
            done = edge("token", "create", word, "--allow", "kv:read", "--state", cls.node.state)
            assert done.returncode == 0, done.stderr
        cls.name = name

    def test_nothing_is_cut_off_without_a_terminal(self):
        done = edge("token", "list", "--state", self.node.state)
        self.assertIn(self.name.strip(), done.stdout)
        self.assertTrue(done.stdout.startswith("ID "))
        self.assertIn("evil\\u{1b}[31m\\nname", done.stdout)
        self.assertNotIn("\x1b", done.stdout)

    def test_lines_fit_the_terminal(self):
        for columns in (100, 70):
            code, shown = on_terminal("token", "list", "--state", self.node.state, columns=columns)
            self.assertEqual(code, 0, shown)
            lines = shown.replace("\r", "").splitlines()
            self.assertEqual(len(lines), 5, shown)
            for line in lines:
                width = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)
                self.assertLessEqual(width, columns, line)
            self.assertIn("…", shown)

    def test_json_is_the_result(self):
        done = edge("token", "list", "--json", "--state", self.node.state)
        tokens = json.loads(done.stdout)
        self.assertIn(self.name, [token["name"] for token in tokens])
        self.assertEqual(done.stdout.count("\n"), 1)


if __name__ == "__main__":
    unittest.main()
