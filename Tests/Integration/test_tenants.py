"""Several tenants on one node: own hosts, own stores, own users."""

import os
import sqlite3
import tempfile
import unittest

from harness import Node, edge, product


def make_project(tenant, domain, worker="StoreWorker", more="", environment="dev"):
    directory = tempfile.mkdtemp(prefix=f"edge-{tenant}-")
    os.makedirs(os.path.join(directory, "environments"))
    with open(os.path.join(directory, "wrangler-like.toml"), "w") as file:
        file.write(f"""format = 1
tenant = "{tenant}"
compatibility_date = "2026-08-01"
[workers.front]
product = "{worker}"
routes = ["{{domain}}/*"]
kv = [{{ binding = "KV", resource = "things" }}]
{more}
""")
    with open(os.path.join(directory, "environments", f"{environment}.toml"), "w") as file:
        file.write(f'format = 1\ndomain = "{domain}"\nlisten = ["127.0.0.1:0"]\n')
    return directory


def serve(*projects):
    arguments = ["serve", "--environment", "dev", "--products", os.path.dirname(product("edge")), "--no-log-requests"]
    for project in projects:
        arguments += ["--project", project]
    return Node(*arguments)


class Tenants(unittest.TestCase):
    def test_each_has_its_own_hosts_stores_and_user(self):
        with serve(make_project("one", "one.localhost"), make_project("two", "two.localhost")) as node:
            self.assertEqual(node.request("PUT", "/kv/key", b"of one", host="one.localhost").status, 200)
            self.assertEqual(node.get("/kv/key", host="one.localhost").body, b"of one")
            self.assertEqual(node.get("/kv/key", host="two.localhost").status, 404)
            self.assertEqual(node.get("/kv/key", host="three.localhost").status, 404)
            workers = node.status()["workers"]
            self.assertEqual([worker["tenant"] for worker in workers], ["one", "two"])
            if os.geteuid() == 0:
                users = {os.stat(f"/proc/{pid}").st_uid for worker in workers for pid in worker["pids"]}
                self.assertEqual(len(users), 2)
                self.assertNotIn(0, users)

    def test_a_tenant_keeps_its_user_when_others_come_and_go(self):
        one, two = make_project("one", "one.localhost"), make_project("two", "two.localhost")
        with serve(one, two) as node:
            with open(os.path.join(node.state, "tenants")) as file:
                self.assertEqual(file.read().split(), ["one", "two"])
            node.stop()
            node.arguments = serve(two).arguments
            node.start()
            if os.geteuid() == 0:
                [worker] = node.status()["workers"]
                self.assertEqual({os.stat(f"/proc/{pid}").st_uid for pid in worker["pids"]}, {600001})

    def test_a_secret_of_one_is_none_of_another(self):
        one, two = (make_project(name, f"{name}.example", "HelloWorker", 'secrets = ["KEY"]', "staging")
                    for name in ("one", "two"))
        with tempfile.TemporaryDirectory() as folder:
            state, key = os.path.join(folder, "state"), os.path.join(folder, "staging.key")

            def secret(*arguments, project, input=None):
                done = edge("secret", *arguments, "--env", "staging", "--state", state, "--key-file", key, "--project",
                            project, input=input)
                self.assertEqual(done.returncode, 0, done.stderr)
                return done.stdout

            def node():
                return Node("serve", "--environment", "staging", "--products", os.path.dirname(product("edge")),
                            "--project", one, "--project", two, "--key-file", key, state=state)

            secret("put", "KEY", project=one, input="of one")
            with self.assertRaisesRegex(RuntimeError, 'worker "front" needs the secret KEY'), node():
                pass
            # A name of its own is a secret of its own; --tenant names another than the project's.
            secret("put", "KEY", project=two, input="of the second")
            secret("put", "OTHER", "--tenant", "two", project=one, input="x")
            self.assertEqual(secret("list", project=one), "KEY\t*\n")
            self.assertEqual(secret("list", project=two), "KEY\t*\nOTHER\t*\n")
            with node() as running:
                self.assertEqual(running.get("/secret-length/KEY", host="one.example").text, str(len("of one")))
                self.assertEqual(running.get("/secret-length/KEY", host="two.example").text, str(len("of the second")))
            # A row that is moved to another tenant opens for nobody.
            with sqlite3.connect(os.path.join(state, "control.sqlite")) as database:
                database.execute("DELETE FROM tenant_secrets WHERE tenant = 'two' AND name = 'KEY'")
                database.execute("UPDATE tenant_secrets SET tenant = 'two' WHERE tenant = 'one'")
            secret("put", "KEY", project=one, input="of one")
            with self.assertRaisesRegex(RuntimeError, f"the secret KEY can't be opened with the key in {key}"), node():
                pass

    def test_two_that_want_one_host_are_refused_by_name(self):
        with self.assertRaisesRegex(RuntimeError, r'belongs to the tenant "one"'):
            with serve(make_project("one", "same.localhost"), make_project("two", "same.localhost")):
                pass


if __name__ == "__main__":
    unittest.main()
