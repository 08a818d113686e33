"""Environments that take signed bundles alone."""

import os
import subprocess
import unittest

from test_cutover import STAGING, Deployed

PROJECT_KEYS = 'deploy_keys = ["keys/release.pem"]\n'


def make_key(directory, name):
    """An Ed25519 pair: the files with the private and the public key."""
    private, public = (os.path.join(directory, f"{name}{suffix}") for suffix in (".key", ".pem"))
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
    return private, public


class Signed(unittest.TestCase):
    def test_only_what_a_known_key_signed_is_deployed(self):
        platform = Deployed(STAGING.replace("keep_warm", PROJECT_KEYS + "keep_warm"))
        os.mkdir(platform.project.path("keys"))
        private, _ = make_key(platform.project.path("keys"), "release")
        other, _ = make_key(platform.project.path("keys"), "other")
        with platform:
            self.assertIn("signed bundles alone", self.refused(platform, 1))
            self.assertIn("none of the keys", self.refused(platform, 1, "--sign-key", other))
            self.assertIn("openssl genpkey", self.refused(platform, 1, "--sign-key", platform.project.path("keys/release.pem")))
            self.assertEqual(platform.releases(3), {"0"})
            platform.deploy(1, "--sign-key", private)
            self.assertEqual(platform.releases(3), {"1"})
            # Where a release comes from that served before was asked then.
            platform.run("rollback", "--yes")
            self.assertEqual(platform.releases(3), {"0"})

    def refused(self, platform, release, *arguments):
        """What the command says that is to be refused; whatever its code."""
        with open(platform.project.path("wrangler-like.toml")) as file:
            before = file.read()
        try:
            platform.deploy(release, *arguments, code=0)
        except AssertionError as error:
            return str(error)
        finally:
            platform.project.write("wrangler-like.toml", before)
        self.fail("it was deployed")

    def test_a_node_without_its_key_file_does_not_start(self):
        platform = Deployed(STAGING.replace("keep_warm", PROJECT_KEYS + "keep_warm"))
        with self.assertRaises(RuntimeError) as caught:
            platform.node.start()
        self.assertIn("keys/release.pem", str(caught.exception))
        platform.__exit__()


if __name__ == "__main__":
    unittest.main()
