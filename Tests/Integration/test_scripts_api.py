"""Workers over the REST API in plain HTTP: what SDKs don't send, and what lies on the disk."""

import http.client
import json
import os
import shutil
import socket
import sqlite3
import tempfile
import unittest

from harness import Node, product, wait_until

SCRIPTS = "/client/v4/accounts/local/workers/scripts"


def code(padding=0):
    with open(product("HelloWorker"), "rb") as file:
        return file.read() + b"\0" * padding


def form(metadata, *modules, boundary="b0undary"):
    parts = []
    if metadata is not None:
        text = metadata if isinstance(metadata, str) else json.dumps(metadata)
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="metadata"\r\n\r\n{text}\r\n'.encode())
    for name, content in modules:
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n\r\n'.encode()
                     + content + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


class Case(unittest.TestCase):
    def connect(self):
        with open(os.path.join(self.node.state, "operator-token")) as file:
            self.token = file.read().strip()

    def ask(self, method, path, body=None, content_type="application/json"):
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        answer = self.node.request(
            method, SCRIPTS + path, body, port=self.node.control_port,
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": content_type})
        return answer.status, answer.json()

    def upload(self, name, value, content=None):
        metadata = {"main_module": "worker", "bindings": [{"type": "plain_text", "name": "X", "text": value}]}
        status, answer = self.ask("PUT", f"/{name}", *form(metadata, ("worker", content or code())))
        self.assertEqual(status, 200, answer)
        return answer["result"]

    def refused(self, status, code, *arguments):
        got, answer = self.ask(*arguments)
        self.assertEqual((got, answer["errors"][0]["code"], answer["result"]), (status, code, None), answer)
        return answer["errors"][0]["message"]

    def variable(self, name):
        return self.node.get("/variable/X", host=f"{name}.local.localhost").text


class Uploads(Case):
    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node("run", product("HelloWorker"), "--no-log-requests"))
        cls.connect(cls)

    def test_what_is_no_upload(self):
        self.refused(400, 10001, "PUT", "/w", {"main_module": "worker"})
        self.refused(400, 10001, "PUT", "/w", b"x", "multipart/form-data")
        self.refused(400, 10026, "PUT", "/w", *form("{", ("worker", b"x")))
        self.refused(400, 10021, "PUT", "/w", *form({}, ("worker", code())))
        self.assertIn("\"other\"", self.refused(400, 10021, "PUT", "/w", *form({"main_module": "worker"}, ("other", code()))))
        self.refused(400, 10021, "PUT", "/w", *form({"main_module": "worker"}, ("worker", b"")))
        body, content_type = form({"main_module": "worker"}, ("worker", code()))
        self.refused(400, 10021, "PUT", "/w", body[:-20], content_type)
        for name in ["Capital", "-w", "a" * 64, "a.b"]:
            self.refused(400, 10016, "PUT", f"/{name}", *form({"main_module": "worker"}, ("worker", code())))
        self.refused(404, 10007, "GET", "/w/settings")
        self.refused(404, 10007, "PATCH", "/w/script-settings", {"logpush": True})
        # Nothing of all that is left.
        leftovers = [name for name in os.listdir(os.path.join(self.node.state, "artifacts")) if name.startswith("incoming")]
        self.assertEqual(leftovers, [])

    def test_a_client_that_leaves_in_the_middle_leaves_nothing(self):
        body, content_type = form({"main_module": "worker"}, ("worker", code()))
        with socket.create_connection(("127.0.0.1", self.node.control_port)) as connection:
            connection.sendall(
                f"PUT {SCRIPTS}/w HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self.token}\r\n"
                f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:1 << 20])

        def incoming():
            return [name for name in os.listdir(os.path.join(self.node.state, "artifacts")) if name.startswith("incoming")]
        wait_until(lambda: not incoming(), what="the end of the upload")
        self.refused(404, 10007, "GET", "/w/settings")

    def test_the_worker_answers_under_each_of_its_names(self):
        self.upload("named", "1")
        for host in ["named.local.localhost", "named.local.workers.dev"]:
            self.assertEqual(self.node.get("/variable/X", host=host).text, "1")


class Versions(Case):
    def start(self, state, *options):
        type(self).node = Node("run", product("HelloWorker"), "--no-log-requests", *options, state=state)
        self.node.start()
        self.addCleanup(self.node.kill)
        self.connect()

    def setUp(self):
        self.state = tempfile.mkdtemp(prefix="edge-scripts-")
        self.addCleanup(shutil.rmtree, self.state, True)
        self.start(self.state)

    def test_the_code_of_versions_that_can_be_deployed_stays(self):
        etags = [self.upload("w", str(number), code(number))["etag"] for number in range(4)]
        self.node.kill()
        self.start(self.state)
        self.upload("other", "x")
        self.assertLessEqual(set(etags), set(os.listdir(os.path.join(self.state, "artifacts"))))
        versions = self.ask("GET", "/w/versions")[1]["result"]["items"]
        first = versions[-1]["id"]
        status, answer = self.ask(
            "POST", "/w/deployments", {"strategy": "percentage", "versions": [{"version_id": first, "percentage": 100}]})
        self.assertEqual((status, answer["result"]["annotations"]["workers/triggered_by"]), (200, "rollback"))
        self.assertEqual(self.variable("w"), "0")

    def test_a_damaged_executable_is_not_run(self):
        etag = self.upload("w", "1", code(1))["etag"]
        self.upload("sound", "2")
        self.node.kill()
        path = os.path.join(self.state, "artifacts", etag)
        with open(path + ".damaged", "wb") as file:
            file.write(code(1)[:-1] + b"x")
        os.replace(path + ".damaged", path)
        self.start(self.state)
        self.assertIn("is not what was stored", self.node.log_text())
        self.assertEqual(self.variable("sound"), "2")
        self.assertEqual(self.node.get("/variable/X", host="w.local.localhost").status, 404)
        # An upload of the same code repairs it.
        self.upload("w", "3", code(1))
        self.assertEqual(self.variable("w"), "3")

    def test_what_is_in_service_is_what_the_rows_say(self):
        self.upload("w", "1")
        self.upload("w", "2")
        with sqlite3.connect(os.path.join(self.state, "control.sqlite")) as database:
            [(generation, deployments)] = database.execute("SELECT generation, deployments FROM active_releases")
            self.assertGreaterEqual(generation, 3)
            [(newest,)] = database.execute(
                "SELECT id FROM script_deployments WHERE worker = 'w' ORDER BY number DESC LIMIT 1")
            self.assertEqual(json.loads(deployments)["w"], newest)
            [shown, _] = self.ask("GET", "/w/deployments")[1]["result"]["deployments"]
            self.assertEqual(shown["annotations"]["edge/release"], str(generation))
            self.assertEqual(database.execute("SELECT number FROM script_versions WHERE worker = 'w'").fetchall(), [(1,), (2,)])

    def test_workers_that_the_configuration_has_no_more_go_and_others_stay(self):
        self.upload("w", "1")
        self.node.kill()
        self.start(self.state, "--service", f"OTHER={product('HelloWorker')}")
        self.assertEqual(self.ask("GET", "/service-other/settings")[0], 200)
        before = self.ask("GET", "/hello-worker/versions")[1]["result"]["items"]
        self.node.kill()
        self.start(self.state)
        self.refused(404, 10007, "GET", "/service-other/settings")
        self.assertEqual(self.variable("w"), "1")
        # A binding less is another version; the one from the first start is it, so none was made.
        self.assertEqual(self.ask("GET", "/hello-worker/versions")[1]["result"]["items"], before)
        self.assertEqual(len(before), 2)
        served = self.ask("GET", "/hello-worker/deployments")[1]["result"]["deployments"][0]
        self.assertEqual((served["source"], served["versions"][0]["version_id"]), ("config", before[-1]["id"]))
        # What the API deletes of the configuration stays deleted while that says nothing new.
        self.assertEqual(self.ask("DELETE", "/hello-worker")[0], 200)
        self.node.kill()
        self.start(self.state)
        self.refused(404, 10007, "GET", "/hello-worker/settings")
        self.assertEqual(self.node.get("/hello").status, 404)

    def test_a_node_killed_again_and_again_serves_one_deployment(self):
        for round in range(6):
            value = str(round)
            body, content_type = form(
                {"main_module": "worker", "bindings": [{"type": "plain_text", "name": "X", "text": value}]}, ("worker", code()))
            connection = http.client.HTTPConnection("127.0.0.1", self.node.control_port, timeout=30)
            connection.request("PUT", SCRIPTS + "/w", body, {
                "Authorization": f"Bearer {self.token}", "Content-Type": content_type})
            if round % 2 == 0:
                self.assertEqual(connection.getresponse().status, 200)
            self.node.kill()
            connection.close()
            self.start(self.state)
            versions = self.ask("GET", "/w/versions")[1]["result"]["items"]
            served = self.ask("GET", "/w/deployments")[1]["result"]["deployments"][0]["versions"][0]["version_id"]
            texts = {version["id"]: version["resources"]["bindings"][0]["text"] for version in versions}
            self.assertEqual(self.variable("w"), texts[served])
            # What was acknowledged is there.
            if round % 2 == 0:
                self.assertEqual(texts[served], value)


if __name__ == "__main__":
    unittest.main()
