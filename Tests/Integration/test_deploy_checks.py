"""What a deployment looks at before, while and after it moves requests, beyond smoke tests and the judge's own numbers."""

import json
import unittest

from harness import wait_until
from test_deploy_engine import DEPLOY, SHAPE, Staging, environment


class Checks(unittest.TestCase):
    seconds = 90

    def edit(self, staging, extra):
        staging.project.write("environments/staging.toml", environment(DEPLOY + extra)["staging"])

    def test_warm_up_requests_are_answered_before_anything_else(self):
        with Staging() as staging:
            staging.set("two")
            self.edit(staging, 'warmup = [{ worker = "hello", get = "/hello" }, { worker = "hello", get = "/json" }]\n')
            done = staging.deploy()
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn("warm-up hello GET /hello: done", done.stdout)
            self.assertIn("warm-up hello GET /json: done", done.stdout)
            states = [state for state, text in staging.rows("SELECT state, text FROM deployment_events") if "warm-up" in text]
            self.assertEqual(states, ["healthy", "healthy"])
            before = staging.served()
            staging.set("three")
            self.edit(staging, 'warmup = [{ worker = "hello", get = "/hello", status = 418 }]\n')
            done = staging.deploy()
            self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
            self.assertIn("418", done.stderr)
            self.assertEqual(staging.served(), before)

    def test_metrics_of_ones_own_are_asked_for_and_what_is_wrong_with_them_is_said(self):
        """That they end a deployment is tested on the virtual clock (DeploymentMachineTests)."""
        with Staging() as staging:
            staging.set("two")
            self.edit(staging, 'metrics = [{ name = "lost carts", query = "SELECT nothing FROM", max = 5 }]\n')
            done = staging.deploy("--bake", "1s", "--steps", "100")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn('warning: metric "lost carts" can\'t be had', done.stdout)
            self.edit(staging, 'dry_run = ["latency", "cpu"]\n'
                      'metrics = [{ name = "lost carts", query = "SELECT nothing FROM", max = 5, dry_run = true }]\n')
            staging.set("three")
            done = staging.deploy("--bake", "1s", "--steps", "100")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn('(dry run) metric "lost carts"', done.stdout)
            self.edit(staging, 'dry_run = ["speed"]\nmetrics = [{ name = "x" }]\nwarmup = [{ get = "/x" }]\n')
            done = staging.deploy()
            self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
            for text in ["deploy.dry_run", '"query" is missing', '"worker" is missing']:
                self.assertIn(text, done.stderr)

    def test_two_slots_must_fit_into_the_memory(self):
        shape = SHAPE.replace('product = "HelloWorker"', 'product = "HelloWorker"\nlimits = { memory = "512MiB" }')
        huge = "[workers.hello]\nisolates = { min = 256, max = 256 }\n"
        with Staging(shape=shape) as staging:
            staging.set("two")
            text = environment()["staging"]
            staging.project.write("environments/staging.toml", text + huge)
            done = staging.deploy()
            self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
            self.assertIn("two slots may use", done.stderr)
            self.assertEqual(staging.served(), "one")

    def test_the_report_has_what_shadow_traffic_found(self):
        with Staging() as staging:
            self.edit(staging, "shadow = { percent = 100 }\n")
            staging.set("two")
            done = staging.deploy("--pause-at", "50", "--steps", "50,100")
            self.assertEqual(done.returncode, 3, done.stdout + done.stderr)

            def shadow():
                for _ in range(20):
                    staging.served()
                    staging.node.get("/hello", host="staging.example")
                return True
            shadow()
            done = staging.edge("deploy", "promote")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            wait_until(lambda: staging.rows("SELECT report FROM release_deployments ORDER BY number DESC LIMIT 1")[0][0], 30, "")
            number, report = staging.rows("SELECT number, report FROM release_deployments ORDER BY number DESC LIMIT 1")[0]
            found = json.loads(report)["shadow"]
            self.assertGreater(found["equal"], 0, found)
            self.assertGreater(found["different"], 0, found)
            self.assertIn("GET /variable/X", " ".join(found["differences"]))
            shown = staging.edge("releases", "view", "2")
            self.assertIn("shadow:", shown.stdout + shown.stderr, number)


if __name__ == "__main__":
    unittest.main()
