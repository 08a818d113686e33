"""schemathesis makes requests of what the OpenAPI document says of KV and R2: none may fail on the node's side, and each
answer must have the shape that the document promises."""

import os
import subprocess
import sys
import tempfile
import unittest

from harness import Node, product

PROGRAM = os.path.join(os.path.dirname(sys.executable), "schemathesis")
CHECKS = "not_a_server_error,response_schema_conformance,content_type_conformance"


class Fuzz(unittest.TestCase):
    seconds = 90

    def fuzz(self, paths):
        # A node of its own: a token may ask 1,200 times in five minutes.
        with Node("run", product("StoreWorker"), "--kv", "KV=bound", "--r2", "R2=bound", "--consume", "changes") as node, \
                tempfile.TemporaryDirectory() as directory:
            bearer = f"Bearer {node.operator_token()}"
            listed = node.request("GET", "/client/v4/accounts/local/storage/kv/namespaces", port=node.control_port,
                                  headers={"Authorization": bearer}).json()
            configuration = os.path.join(directory, "schemathesis.toml")
            with open(configuration, "w") as file:
                file.write(f'[parameters]\n"path.account_id" = "local"\n"path.namespace_id" = "{listed["result"][0]["id"]}"\n'
                           '"path.bucket_name" = "bound"\n"path.queue" = "changes"\n')
            url = node.control + "/client/v4"
            done = subprocess.run(
                [PROGRAM, "--config-file", configuration, "run", url + "/openapi.json", "--url", url, "-H",
                 f"Authorization: {bearer}", "--checks", CHECKS, "--max-examples", "10", "--include-path-regex", paths,
                 "--phases", "coverage,fuzzing", "--workers", "1", "--generation-deterministic", "--no-color",
                 # What is there shall be there for the next request as well.
                 "--exclude-path-regex", "namespace_id}$", "--exclude-operation-id", "r2.buckets.delete"],
                cwd=directory, capture_output=True, text=True, timeout=240)
            self.assertEqual(done.returncode, 0, done.stdout[-6000:] + done.stderr[-2000:])
            self.assertNotIn("an API operation failed", node.log_text())

    def test_kv(self):
        self.fuzz("/storage/kv/")

    def test_r2(self):
        self.fuzz("/r2/")


if __name__ == "__main__":
    unittest.main()
