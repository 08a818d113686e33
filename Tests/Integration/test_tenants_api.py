"""Tenants that are made, changed and removed over the API; the routes in service; completion in a real shell."""

import http.client
import json
import os
import shutil
import subprocess
import tempfile
import unittest

from harness import Node, edge, product
from projects import Project


def ask(node, method, path, body=None, token=None):
    connection = http.client.HTTPConnection("127.0.0.1", node.control_port, timeout=60)
    if token is None:
        with open(os.path.join(node.state, "operator-token")) as file:
            token = file.read().strip()
    connection.request(method, "/client/v4" + path, body=None if body is None else json.dumps(body),
                       headers={"Authorization": f"Bearer {token}"})
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    return response.status, answer


class Tenants(unittest.TestCase):
    def setUp(self):
        self.node = self.enterContext(Node("run", product("HelloWorker")))

    def ask(self, *arguments, **keywords):
        return ask(self.node, *arguments, **keywords)

    def names(self):
        return [account["name"] for account in self.ask("GET", "/accounts")[1]["result"]]

    def test_a_tenant_is_there_at_once_and_after_a_restart(self):
        status, answer = self.ask("POST", "/accounts", {"name": "acme", "type": "standard"})
        self.assertEqual(status, 200, answer)
        account = answer["result"]["id"]
        self.assertRegex(account, r"^[0-9a-f]{32}$")
        self.assertEqual(answer["result"], {"id": account, "name": "acme", "type": "standard"})
        status, answer = self.ask("GET", f"/accounts/{account}/tenant")
        self.assertEqual(status, 200, answer)
        self.assertEqual(answer["result"]["source"], "api")
        self.assertEqual(set(answer["result"]["contents"].values()), {0})
        self.assertEqual(self.names(), ["acme", "local"])
        self.assertTrue(os.path.isdir(os.path.join(self.node.state, "acme", "kv")))
        for end in (self.node.stop, self.node.kill):
            end()
            self.node.start()
            self.assertEqual(self.names(), ["acme", "local"])
            self.assertEqual(self.ask("GET", f"/accounts/{account}/tenant")[1]["result"]["name"], "acme")

    def test_its_workers_stay_over_restarts_and_go_with_it(self):
        def upload(account):
            with open(product("HelloWorker"), "rb") as file:
                code = file.read()
            parts = [(b'name="metadata"', b'{"main_module": "worker", "bindings": [{"type": "plain_text", "name": "X", "text": "mine"}]}'),
                     (b'name="worker"; filename="worker"', code)]
            body = b"".join(
                b"--b--b\r\ncontent-disposition: form-data; " + name + b"\r\n\r\n" + value + b"\r\n" for name, value in parts)
            connection = http.client.HTTPConnection("127.0.0.1", self.node.control_port, timeout=60)
            connection.request("PUT", f"/client/v4/accounts/{account}/workers/scripts/hi", body + b"--b--b--\r\n", {
                "Authorization": f"Bearer {self.node.operator_token()}", "Content-Type": "multipart/form-data; boundary=b--b"})
            response = connection.getresponse()
            answer = response.read()
            connection.close()
            self.assertEqual(response.status, 200, answer)

        def scripts(account):
            return [script["id"] for script in self.ask("GET", f"/accounts/{account}/workers/scripts")[1]["result"]]

        def variable():
            return self.node.get("/variable/X", host="hi.acme.localhost").text

        account = self.ask("POST", "/accounts", {"name": "acme"})[1]["result"]["id"]
        upload(account)
        self.assertEqual((scripts(account), variable()), (["hi"], "mine"))
        self.node.kill()
        self.node.start()
        self.assertEqual((scripts(account), variable()), (["hi"], "mine"))
        self.assertEqual(self.ask("DELETE", f"/accounts/{account}/state")[0], 200)
        self.assertEqual(variable(), "mine")
        self.assertEqual(self.ask("DELETE", f"/accounts/{account}")[0], 409)
        self.assertEqual(self.ask("DELETE", f"/accounts/{account}?force=true")[0], 200)
        self.assertEqual(self.ask("POST", "/accounts", {"name": "acme"})[0], 200)
        self.assertEqual(scripts(account), [])
        self.assertNotEqual(variable(), "mine")

    def test_names_that_no_tenant_can_have(self):
        for name in ("", "A", "-a", "_a", "a/b", "..", "artifacts", "tenants", "control", "a" * 64, "é"):
            status, answer = self.ask("POST", "/accounts", {"name": name})
            self.assertEqual((status, answer["success"]), (400, False), name)
        for name, status in (("local", 409), ("acme", 200), ("acme", 409)):
            self.assertEqual(self.ask("POST", "/accounts", {"name": name})[0], status, name)

    def test_limits_change_what_is_accepted(self):
        self.assertEqual(self.ask("POST", "/accounts", {"name": "acme", "limits": {"kv_bytes_max": 1000}})[0], 200)
        shown = self.ask("GET", "/accounts/acme/tenant")[1]["result"]
        self.assertEqual((shown["plan"], shown["limits"]), ("cloudflare-paid", {"kv_bytes_max": 1000}))
        status, answer = self.ask("PUT", "/accounts/acme", {
            "plan": "cloudflare-free", "limits": {"kv_bytes_max": None, "cache_bytes_max": 1 << 20}})
        self.assertEqual(status, 200, answer)
        self.node.kill()
        self.node.start()
        shown = self.ask("GET", "/accounts/acme/tenant")[1]["result"]
        self.assertEqual((shown["plan"], shown["limits"]), ("cloudflare-free", {"cache_bytes_max": 1 << 20}))
        for body, status in [({"plan": "free"}, 400), ({"limits": {"kv_bytes_max": -1}}, 400), ({"name": "other"}, 400)]:
            self.assertEqual(self.ask("PUT", "/accounts/acme", body)[0], status, body)
        # What a file says, a file changes.
        status, answer = self.ask("PUT", "/accounts/local", {"plan": "cloudflare-free"})
        self.assertEqual((status, answer["errors"][0]["code"]), (409, 1102))

    def test_removal(self):
        self.ask("POST", "/accounts", {"name": "acme"})
        self.assertEqual(self.ask("DELETE", "/accounts/local")[0], 409)
        status, answer = self.ask("DELETE", "/accounts/acme")
        self.assertEqual(status, 200, answer)
        self.assertEqual(self.names(), ["local"])
        self.assertFalse(os.path.exists(os.path.join(self.node.state, "acme")))
        self.assertEqual(self.ask("GET", "/accounts/acme")[0], 403)
        self.assertEqual(self.ask("POST", "/accounts", {"name": "acme"})[0], 200)
        self.node.kill()
        self.node.start()
        self.assertEqual(self.names(), ["acme", "local"])

    def test_who_may(self):
        self.ask("POST", "/accounts", {"name": "acme"})

        def token(*allowed):
            words = [word for text in allowed for word in ("--allow", text)]
            made = edge("token", "create", "t", *words, "--state", self.node.state)
            self.assertEqual(made.returncode, 0, made.stderr)
            return made.stdout.strip()

        reader, owner, maker = token("tenants:read@acme"), token("tenants:edit@acme"), token("tenants:edit")
        for who, method, path, body, status in [
            (reader, "GET", "/accounts/acme/tenant", None, 200), (reader, "PUT", "/accounts/acme", {"plan": "custom"}, 403),
            (reader, "DELETE", "/accounts/acme", None, 403), (reader, "GET", "/accounts/local/tenant", None, 403),
            (owner, "PUT", "/accounts/acme", {"plan": "custom"}, 200), (owner, "POST", "/accounts", {"name": "b"}, 403),
            (maker, "POST", "/accounts", {"name": "b"}, 200), (maker, "DELETE", "/accounts/b", None, 200),
        ]:
            with self.subTest(method=method, path=path, status=status):
                self.assertEqual(self.ask(method, path, body, token=who)[0], status)
        told = edge("audit", "--tenant", "acme", "--json", "--state", self.node.state)
        self.assertIn("accounts.update", [entry["action"]["type"] for entry in json.loads(told.stdout)])

    def test_from_the_command_line(self):
        def tenant(*words):
            return edge("tenant", *words, "--state", self.node.state)

        made = tenant("create", "acme", "--plan", "cloudflare-free", "--limit", "kv_bytes_max=5")
        self.assertEqual(made.returncode, 0, made.stderr)
        self.assertRegex(made.stdout, r"^made acme: [0-9a-f]{32}\n$")
        self.assertRegex(tenant("list").stdout, r"(?m)^acme +[0-9a-f]{32}$")
        info = tenant("info", "acme").stdout
        self.assertRegex(info, r"(?m)^plan +cloudflare-free$")
        self.assertRegex(info, r"(?m)^kv_bytes_max +5$")
        self.assertEqual(tenant("update", "acme", "--limit", "kv_bytes_max=").returncode, 0)
        self.assertEqual(json.loads(tenant("info", "acme", "--json").stdout)["limits"], {})
        # With two tenants, commands have to be told which.
        asked = edge("audit", "--state", self.node.state)
        self.assertEqual(asked.returncode, 64)
        self.assertIn("--tenant (one of acme, local) is missing", asked.stderr)
        refused = subprocess.run([product("edge"), "tenant", "delete", "acme", "--state", self.node.state],
                                 stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
        self.assertEqual(refused.returncode, 64)
        self.assertIn("Delete the tenant acme? Nobody can be asked here: say so with --yes", refused.stderr)
        self.assertEqual(tenant("delete", "acme", "--yes").returncode, 0)
        self.assertNotIn("acme", tenant("list").stdout)
        for words, code in [(("create", "a", "--plan", "x"), 64), (("create", "a", "--limit", "x"), 64), (("update", "a"), 64),
                            (("create", "UPPER"), 1), (("info", "nobody"), 1)]:
            self.assertEqual(tenant(*words).returncode, code, words)


class Routes(unittest.TestCase):
    def test_those_that_win_come_first(self):
        shape = ('format = 1\ntenant = "t"\ncompatibility_date = "2026-08-01"\n[workers.hello]\nproduct = "HelloWorker"\n'
                 'routes = ["{domain}/*", "{domain}/a/b*", { host = "own.{domain}" }]\n')
        with Project(shape, {"dev": "format = 1\n"}) as project:
            with Node("dev", "--no-build", "--no-watch", cwd=project.directory) as node:
                done = edge("routes", "list", "--json", "--state", node.state)
                self.assertEqual(done.returncode, 0, done.stderr)
                # In dev, a worker of localhost is reached by the machine's addresses as well.
                routes = [(route["host"], route["path"], route["kind"]) for route in json.loads(done.stdout)
                          if route["host"].endswith("localhost")]
                self.assertEqual(routes, [("localhost", "/a/b*", "route"), ("localhost", "/*", "route"),
                                          ("own.localhost", "/*", "custom_domain")])
                shown = edge("routes", "list", "--tenant", "t", "--state", node.state).stdout
                self.assertRegex(shown, r"(?m)^localhost +/a/b\* +hello +t +route +configuration$")


class Completion(unittest.TestCase):
    def complete(self, *words, cwd=None):
        """What bash offers for the last word."""
        line = " ".join(words)
        script = (f'source <("{product("edge")}" completion bash)\n'
                  f'COMP_WORDS=("{product("edge")}" {" ".join(repr(word) for word in words)})\n'
                  f'COMP_CWORD={len(words)}\nCOMP_LINE={line!r}\ncompopt() {{ :; }}\n_edge\nprintf "%s\\n" "${{COMPREPLY[@]}}"\n')
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, cwd=cwd)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.split("\n")[:-1]

    def test_commands_and_options_in_bash(self):
        self.assertEqual(self.complete("tok"), ["token"])
        self.assertEqual(self.complete("token", ""), ["create", "list", "revoke"])
        self.assertIn("tenant", self.complete(""))
        self.assertNotIn("__complete", self.complete(""))
        self.assertEqual(self.complete("token", "list", "--js"), ["--json"])
        self.assertNotIn("--json", self.complete("token", "list", "--json", "--"))
        self.assertIn("--allow", self.complete("token", "create", "x", "--allow", "kv:read", "--"))
        self.assertEqual(self.complete("dev", "--log-level", "w"), ["warning"])
        self.assertEqual(self.complete("token", "nonsense", ""), [""])
        self.assertEqual(self.complete("help", "tok"), ["token"])

    def test_files_and_environments(self):
        with tempfile.TemporaryDirectory() as folder:
            os.makedirs(os.path.join(folder, "environments"))
            for name in ("wrangler-like.toml", "environments/staging.toml"):
                open(os.path.join(folder, name), "w").close()
            self.assertEqual(self.complete("run", "wra", cwd=folder), ["wrangler-like.toml"])
            self.assertEqual(self.complete("run", "x", "--state", "", cwd=folder), ["environments"])
            self.assertEqual(self.complete("secret", "list", "--env", "", cwd=folder), ["staging"])

    def test_names_come_from_the_node(self):
        with Node("run", product("HelloWorker")) as node:
            self.assertEqual(ask(node, "POST", "/accounts", {"name": "acme"})[0], 200)
            self.assertEqual(self.complete("tenant", "info", "--state", node.state, ""), ["acme", "local"])
            self.assertEqual(self.complete("audit", "--state", node.state, "--tenant", "lo"), ["local"])
            self.assertEqual(self.complete("trigger", "cron", "--state", node.state, "--worker", ""), ["hello-worker"])
        # Without a node there is nothing to offer, and nothing is said.
        self.assertEqual(self.complete("tenant", "info", "--state", node.state, ""), [""])

    def test_the_scripts_of_other_shells_can_be_read(self):
        for shell, check in (("zsh", "-n"), ("fish", "--no-execute")):
            script = edge("completion", shell)
            self.assertEqual(script.returncode, 0)
            if shutil.which(shell):
                with tempfile.NamedTemporaryFile("w", suffix=f".{shell}") as file:
                    file.write(script.stdout)
                    file.flush()
                    done = subprocess.run([shell, check, file.name], capture_output=True, text=True, timeout=30)
                    self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(edge("completion", "sh").returncode, 64)


if __name__ == "__main__":
    unittest.main()
