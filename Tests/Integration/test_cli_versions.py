"""`edge versions`, `edge deployments`, `edge rollback` against a real node."""

import json
import os
import unittest

from harness import Node, edge, product
from test_scripts_api import code, form


class Versions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node("run", product("HelloWorker"), "--no-log-requests"))
        with open(os.path.join(cls.node.state, "operator-token")) as file:
            cls.token = file.read().strip()

    def ask(self, method, path, body=None, content_type="application/json"):
        answer = self.node.request(
            method, "/client/v4/accounts/local/workers/scripts" + path, body, port=self.node.control_port,
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": content_type})
        self.assertEqual(answer.status, 200, answer.text)
        return answer.json()["result"]

    def upload(self, name, value, deploys=True):
        metadata = {"main_module": "worker", "bindings": [{"type": "plain_text", "name": "X", "text": value}],
                    "keep_bindings": ["secret_text"], "annotations": {"workers/tag": f"tag-{value}"}}
        body, content_type = form(metadata, ("worker", code()))
        return self.ask("PUT" if deploys else "POST", f"/{name}{'' if deploys else '/versions'}", body, content_type)

    def edge(self, *words, code=0):
        done = edge(*words, "--state", self.node.state, timeout=60)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout if code == 0 else done.stderr

    def served(self, name):
        return self.node.get("/variable/X", host=f"{name}.local.localhost").text

    def test_lists_and_one(self):
        self.upload("listed", "1")
        second = self.upload("listed", "2", deploys=False)["id"]
        versions = json.loads(self.edge("versions", "list", "--name", "listed", "--json"))
        self.assertEqual([version["number"] for version in versions], [2, 1])
        self.assertIn("tag-2", self.edge("versions", "list", "--name", "listed"))
        self.assertRegex(self.edge("versions", "view", second, "--name", "listed"), r"X +plain_text +2")
        status = self.edge("deployments", "status", "--name", "listed")
        self.assertRegex(status, rf"100 % +{versions[1]['id']} +1 ")
        self.assertNotIn(second, self.edge("deployments", "list", "--name", "listed"))
        self.assertIn("10007", self.edge("versions", "list", "--name", "unheard-of", code=1))
        self.assertIn("--name WORKER", self.edge("versions", "list", code=64))

    def test_shares(self):
        self.upload("shared", "1")
        first = self.ask("GET", "/shared/versions")["items"][0]["id"]
        second = self.upload("shared", "2", deploys=False)["id"]
        self.assertIn("not to 120", self.edge("versions", "deploy", f"{first}@60", f"{second}@60", "--name", "shared", code=64))
        # Nobody can be asked here.
        self.edge("versions", "deploy", second, "--name", "shared", code=64)
        self.assertEqual(self.served("shared"), "1")
        self.edge("versions", "deploy", f"{first}@90.5", second, "--name", "shared", "--yes")
        shown = json.loads(self.edge("deployments", "status", "--name", "shared", "--json"))
        self.assertEqual({share["version_id"]: share["percentage"] for share in shown["versions"]}, {first: 90.5, second: 9.5})
        self.edge("versions", "deploy", second, "--name", "shared", "-y")
        self.assertEqual(self.served("shared"), "2")

    def test_rollback(self):
        self.upload("back", "1")
        self.assertIn("Could not find stable Worker Version", self.edge("rollback", "--name", "back", "-y", code=1))
        self.upload("back", "2")
        self.edge("rollback", "--name", "back", "-y", "-m", "two is broken")
        self.assertEqual(self.served("back"), "1")
        newest = json.loads(self.edge("deployments", "list", "--name", "back", "--json"))[0]
        self.assertEqual(newest["annotations"]["workers/message"], "two is broken")
        self.assertEqual(newest["annotations"]["workers/triggered_by"], "rollback")
        # Secrets that were set since go with it: `--yes` has agreed to that too.
        self.edge("versions", "deploy", self.ask("GET", "/back/versions")["items"][0]["id"], "--name", "back", "-y")
        self.ask("PUT", "/back/secrets", json.dumps({"name": "S", "text": "x", "type": "secret_text"}))
        self.edge("rollback", "--name", "back", "-y")
        self.assertEqual(self.node.get("/secret-length/S", host="back.local.localhost").status, 404)


if __name__ == "__main__":
    unittest.main()
