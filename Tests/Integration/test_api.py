"""The REST API of the control listener, and the commands that use it, against a real node."""

import http.client
import json
import os
import stat
import tempfile
import unittest

from harness import Node, edge, product


class API(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node("run", product("HelloWorker")))
        with open(os.path.join(cls.node.state, "operator-token")) as file:
            cls.token = file.read().strip()

    def ask(self, method, path, body=None, token="", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.node.control_port, timeout=20)
        all_headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            all_headers["Authorization"] = f"Bearer {token or self.token}"
        connection.request(method, "/client/v4" + path, body=None if body is None else json.dumps(body), headers=all_headers)
        response = connection.getresponse()
        text = response.read()
        connection.close()
        return response.status, json.loads(text)

    def command(self, *words):
        return edge(*words, "--control", self.node.control, "--state", self.node.state, timeout=20)

    def test_probe_1_the_token_is_verified(self):
        status, answer = self.ask("GET", "/user/tokens/verify")
        self.assertEqual((status, answer["result"]["status"]), (200, "active"))
        status, answer = self.ask("GET", "/user/tokens/verify", token="wrong")
        self.assertEqual((status, answer["errors"][0]["code"]), (401, 10000))

    def test_probe_3_what_no_client_may_ask(self):
        status, answer = self.ask("GET", "/user", token=None)
        self.assertEqual((status, answer["errors"][0]["code"]), (400, 9106))
        self.assertEqual(list(answer), ["success", "errors", "messages", "result"])
        self.assertEqual(self.ask("GET", "/nope")[1]["errors"][0]["code"], 7000)
        self.assertEqual(self.ask("DELETE", "/user/tokens")[1]["errors"][0]["code"], 7001)

    def test_a_page_of_another_site_is_refused(self):
        self.assertEqual(self.ask("GET", "/user", Origin="https://evil.example")[0], 403)
        self.assertEqual(self.ask("GET", "/user", Host="evil.example")[0], 403)

    def test_the_operators_token_is_nobody_elses(self):
        mode = os.stat(os.path.join(self.node.state, "operator-token")).st_mode
        self.assertEqual(stat.S_IMODE(mode), 0o600)

    def test_tokens_from_the_command_line(self):
        made = self.command("token", "create", "ci", "--allow", "audit:read@local", "--expires", "30d")
        self.assertEqual(made.returncode, 0, made.stderr)
        token = made.stdout.strip()
        self.assertEqual(len(token), 40)
        status, accounts = self.ask("GET", "/accounts", token=token)
        self.assertEqual([account["name"] for account in accounts["result"]], ["local"])
        self.assertEqual(self.ask("GET", "/user/tokens", token=token)[0], 403)
        listed = self.command("token", "list")
        line = next(line for line in listed.stdout.splitlines() if " ci " in line)
        self.assertIn(f"audit:read@{accounts['result'][0]['id']}", line)
        self.assertNotIn(token, listed.stdout)
        with open(os.path.join(self.node.state, "control.sqlite"), "rb") as file:
            self.assertNotIn(token.encode(), file.read())
        revoked = self.command("token", "revoke", line.split()[0])
        self.assertEqual(revoked.returncode, 0, revoked.stderr)
        self.assertEqual(self.ask("GET", "/user", token=token)[0], 401)

    def test_mistakes_of_the_command_line(self):
        for words, code, text in [
            (("token", "create", "x"), 64, "--allow PRODUCT:LEVEL"),
            (("token", "create", "x", "--allow", "kv:own"), 64, "kv:own"),
            (("token", "create", "x", "--allow", "kv:read", "--expires", "soon"), 64, "soon"),
            (("token", "create", "x", "--allow", "kv:read@nobody"), 1, "Authentication error"),
            (("token", "revoke", "0" * 32), 1, "Token not found"),
            (("token", "rename", "x"), 64, "rename"),
            (("audit", "--tenant", "nobody"), 1, "Authentication error"),
            (("audit", "local"), 64, 'unexpected argument "local"'),
            (("audit", "--count", "many"), 64, "1 to 1000"),
        ]:
            with self.subTest(words=words):
                done = self.command(*words)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn(text, done.stderr)
        done = edge("audit", "--control", self.node.control, "--state", "/nowhere", timeout=20)
        self.assertEqual(done.returncode, 1)
        self.assertIn("/nowhere/operator-token", done.stderr)

    def test_tokens_outlive_the_node(self):
        with tempfile.TemporaryDirectory() as state:
            path = os.path.join(state, "operator-token")

            def command(node, *words):
                return edge(*words, "--control", node.control, "--state", state, timeout=20)

            with Node("run", product("HelloWorker"), state=state) as node:
                made = command(node, "token", "create", "ci", "--allow", "kv:read")
                self.assertEqual(made.returncode, 0, made.stderr)
                with open(path) as file:
                    operator = file.read()
            with Node("run", product("HelloWorker"), state=state) as node:
                with open(path) as file:
                    self.assertEqual(file.read(), operator)
                self.assertIn(" ci ", command(node, "token", "list").stdout)
            # A lost file makes a new token, and ends the old one.
            os.unlink(path)
            with Node("run", product("HelloWorker"), state=state) as node:
                done = edge("token", "list", "--control", node.control, "--token", operator.strip(), timeout=20)
                self.assertEqual(done.returncode, 1)
                done = command(node, "token", "list")
                self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
