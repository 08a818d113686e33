"""awscli against the S3 API of a real node (spec r2, section 6)."""

import filecmp
import os
import subprocess
import sys
import tempfile
import unittest

import s3_keys
from harness import Node, product

MIB = 1 << 20


class Commands(unittest.TestCase):
    seconds = 80

    @classmethod
    def setUpClass(cls):
        cls.node = cls.enterClassContext(Node("run", product("HelloWorker"), "--s3", "127.0.0.1:0"))
        key, secret = s3_keys.operator_pair(cls.node)
        cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="edge-test-"))
        cls.env = {
            "PATH": os.environ["PATH"], "HOME": cls.folder, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": "auto", "AWS_ENDPOINT_URL": cls.node.s3, "AWS_MAX_ATTEMPTS": "1",
        }
        cls.aws("s3", "mb", "s3://files")

    @classmethod
    def aws(cls, *arguments, fails=False):
        done = subprocess.run(
            [os.path.join(os.path.dirname(sys.executable), "aws"), *arguments], env=cls.env, capture_output=True, text=True,
            timeout=240)
        if (done.returncode != 0) != fails:
            raise AssertionError(f"aws {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout + (done.stderr if fails else "")

    def file(self, name, content):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def test_100_mib_go_up_and_down(self):
        path = self.file("large", os.urandom(MIB) * 100)
        self.aws("s3", "cp", "--quiet", path, "s3://files/large")
        self.aws("s3", "cp", "--quiet", "s3://files/large", path + ".back")
        self.assertTrue(filecmp.cmp(path, path + ".back", shallow=False))

    def test_probe_25_a_second_sync_has_nothing_to_do(self):
        for name in ["sync/a.txt", "sync/dir/b ä.txt", "sync/c+d.bin"]:
            self.file(name, name.encode())
        source = os.path.join(self.folder, "sync")
        self.assertEqual(self.aws("s3", "sync", source, "s3://files/sync").count("upload:"), 3)
        self.assertEqual(self.aws("s3", "sync", source, "s3://files/sync").strip(), "")
        target = os.path.join(self.folder, "back")
        self.assertEqual(self.aws("s3", "sync", "s3://files/sync", target).count("download:"), 3)
        self.assertEqual(self.aws("s3", "sync", "s3://files/sync", target).strip(), "")
        self.assertTrue(filecmp.cmp(os.path.join(source, "dir", "b ä.txt"), os.path.join(target, "dir", "b ä.txt")))
        os.unlink(os.path.join(source, "a.txt"))
        self.assertIn("delete:", self.aws("s3", "sync", "--delete", source, "s3://files/sync"))

    def test_lists_and_removes(self):
        path = self.file("small", b"small")
        for key in ["list/a", "list/b", "list/c/d"]:
            self.aws("s3", "cp", "--quiet", path, f"s3://files/{key}")
        listed = self.aws("s3", "ls", "s3://files/list/")
        self.assertEqual([line.split()[-1] for line in listed.splitlines()], ["c/", "a", "b"])
        self.assertEqual(len(self.aws("s3", "ls", "--recursive", "s3://files/list/").splitlines()), 3)
        self.aws("s3", "mv", "--quiet", "s3://files/list/a", "s3://files/list/moved")
        self.aws("s3", "rm", "--quiet", "--recursive", "s3://files/list/")
        self.aws("s3", "ls", "s3://files/list/", fails=True)

    def test_buckets_are_made_and_removed(self):
        self.aws("s3", "mb", "s3://short-lived")
        self.assertIn("short-lived", self.aws("s3", "ls"))
        self.aws("s3", "cp", "--quiet", self.file("one", b"1"), "s3://short-lived/one")
        self.assertIn("BucketNotEmpty", self.aws("s3", "rb", "s3://short-lived", fails=True))
        self.aws("s3", "rb", "--force", "s3://short-lived")
        self.assertNotIn("short-lived", self.aws("s3", "ls"))

    def test_urls_are_signed(self):
        self.aws("s3", "cp", "--quiet", self.file("signed", b"signed"), "s3://files/signed")
        url = self.aws("s3", "presign", "s3://files/signed", "--expires-in", "60").strip()
        got = subprocess.run(["curl", "--silent", "--fail", url], capture_output=True, timeout=60, check=True)
        self.assertEqual(got.stdout, b"signed")

    def test_standard_input_and_output(self):
        done = subprocess.run(
            [os.path.join(os.path.dirname(sys.executable), "aws"), "s3", "cp", "-", "s3://files/piped"], env=self.env,
            input=b"piped", capture_output=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.aws("s3", "cp", "s3://files/piped", "-"), "piped")


if __name__ == "__main__":
    unittest.main()
