"""The platform that ships with the project, whole: its five workers behind the gateway, as `edge dev` runs them."""

import base64
import concurrent.futures
import contextlib
import hashlib
import hmac
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import unittest
import uuid

from harness import ROOT, edge, wait_until
from projects import Project

JWT_KEY = "0123456789abcdef0123456789abcdef"
PASSWORD = "correct horse battery"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
FAST = "workers.auth-service.vars.BCRYPT_COST=4"
FREE = [
    "--set", FAST, "--set", "workers.api-gateway.ratelimits.PER_ADDRESS.limit=100000",
    "--set", "workers.api-gateway.ratelimits.PER_ADDRESS_CREDENTIALS.limit=100000",
    "--set", "workers.api-gateway.ratelimits.PER_USER.limit=100000",
]


class Account:
    """A registered and signed-in user of a running platform."""

    def __init__(self, node):
        run = os.urandom(6).hex()
        self.node = node
        self.email = f"user-{run}@example.com"
        self.username = f"user-{run}"
        made = call(node, "POST", "/api/v1/auth/register",
                    {"email": self.email, "username": self.username, "password": PASSWORD})
        assert made.status == 201, made.text
        self.id = made.json()["user"]["id"]
        self.sign_in()

    def sign_in(self):
        answer = call(self.node, "POST", "/api/v1/auth/login", {"email": self.email, "password": PASSWORD})
        assert answer.status == 200, answer.text
        self.access, self.refresh = answer.json()["accessToken"], answer.json()["refreshToken"]
        return answer.json()

    def call(self, method, path, body=None, headers=None):
        return call(self.node, method, path, body, {"Authorization": "Bearer " + self.access, **(headers or {})})

    def create(self, **fields):
        answer = self.call("POST", "/api/v1/content", {"title": "A title", **fields})
        assert answer.status == 201, answer.text
        return answer.json()


def call(node, method, path, body=None, headers=None):
    headers = dict(headers or {})
    if isinstance(body, (dict, list)):
        body = json.dumps(body).encode()
        headers.setdefault("Content-Type", "application/json")
    return node.request(method, path, body=body, headers=headers, host="localhost")


def code(answer):
    return answer.json()["error"]["code"]


def token(claims, key=JWT_KEY, algorithm="HS256"):
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    signed = part({"alg": algorithm, "typ": "JWT"}) + b"." + part(claims)
    signature = hmac.new(key.encode(), signed, hashlib.sha256).digest() if algorithm == "HS256" else b""
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def claims_of(access):
    text = access.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


class Platform(unittest.TestCase):
    """One platform for all tests: each makes accounts of its own."""

    @classmethod
    def setUpClass(cls):
        cls.project = Project(dev_vars=f"JWT_KEY={JWT_KEY}\n")
        cls.node = cls.project.dev("--no-watch", *FREE).start()

    @classmethod
    def tearDownClass(cls):
        cls.node.__exit__()
        cls.project.__exit__()

    def call(self, *arguments, **keywords):
        return call(self.node, *arguments, **keywords)

    def assertFailure(self, answer, status, error_code=None):
        """An error in the form that the API documents."""
        self.assertEqual(answer.status, status, answer.text)
        self.assertEqual(answer.header("content-type"), "application/json")
        error = answer.json()["error"]
        self.assertTrue(error["code"] and error["message"], error)
        self.assertEqual(error["requestId"], answer.header("x-request-id"))
        if error_code:
            self.assertEqual(error["code"], error_code)

    def fire(self, cron, worker):
        fired = edge("trigger", "cron", cron, "--worker", worker, "--control", self.node.control)
        self.assertEqual(fired.returncode, 0, fired.stderr)

    # MARK: The whole

    def test_the_demo_script_passes(self):
        done = subprocess.run(
            [sys.executable, os.path.join(ROOT, "scripts/demo.py"), self.node.url], capture_output=True, text=True,
            timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout[-3000:] + done.stderr)
        self.assertIn("all as expected", done.stdout)

    def test_health_asks_every_service(self):
        answer = self.call("GET", "/api/health")
        self.assertEqual(answer.status, 200)
        report = answer.json()
        self.assertEqual(report["status"], "ok")
        self.assertEqual(
            {name: item["status"] for name, item in report["services"].items()},
            dict.fromkeys(
                ("auth-service", "user-service", "content-service", "analytics-service", "websocket-service"), "ok"))
        self.assertEqual(report["environment"], "dev")

    def test_health_reports_a_service_that_does_not_answer(self):
        def pids():
            return next(worker["pids"] for worker in self.node.status()["workers"] if worker["name"] == "user-service")

        stopped = pids()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            answer = self.call("GET", "/api/health")
            self.assertEqual(answer.status, 503, answer.text)
            report = answer.json()
            self.assertEqual(report["status"], "degraded")
            self.assertEqual(report["services"]["user-service"]["status"], "error")
            self.assertEqual(report["services"]["auth-service"]["status"], "ok")
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        wait_until(lambda: self.call("GET", "/api/health").status == 200, what="a healthy platform")
        # One that is gone is replaced.
        for pid in pids():
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: self.call("GET", "/api/health").status == 200, what="a healthy platform")
        self.assertNotEqual(pids(), stopped)

    # MARK: Accounts

    def test_every_wrong_field_is_named(self):
        for body, fields in [
            ({}, {"email", "username", "password"}),
            ({"email": "a@b", "username": "ok-name", "password": PASSWORD}, {"email"}),
            ({"email": "a@b.example", "username": "no spaces", "password": "1234567"}, {"username", "password"}),
            ({"email": "a@b.example", "username": "ok-name", "password": "x" * 73}, {"password"}),
            ({"email": "ok-name@b.example", "username": "ok-name-ok", "password": "ok-name-ok"}, {"password"}),
            ({"email": 7, "username": "ok-name", "password": PASSWORD}, {"email"}),
        ]:
            answer = self.call("POST", "/api/v1/auth/register", body)
            self.assertFailure(answer, 422, "validation_failed")
            self.assertEqual(set(answer.json()["error"]["fields"]), fields, body)

    def test_bodies_that_are_not_what_they_should_be(self):
        path = "/api/v1/auth/login"
        self.assertFailure(self.call("POST", path, b"{", {"Content-Type": "application/json"}), 400, "invalid_json")
        self.assertFailure(self.call("POST", path, b"[]", {"Content-Type": "application/json"}), 400, "invalid_json")
        self.assertFailure(self.call("POST", path, b"a=b", {"Content-Type": "text/plain"}), 415)
        self.assertFailure(self.call("POST", path, {"email": "x" * 20_000, "password": "y"}), 413)

    def test_a_taken_address_or_name_is_a_conflict(self):
        first = Account(self.node)
        for body in (
            {"email": first.email.upper(), "username": first.username + "-2", "password": PASSWORD},
            {"email": "other-" + first.email, "username": first.username.upper(), "password": PASSWORD},
        ):
            self.assertFailure(self.call("POST", "/api/v1/auth/register", body), 409, "conflict")

    def test_two_at_once_cannot_register_the_same(self):
        run = os.urandom(6).hex()
        body = {"email": f"{run}@example.com", "username": run, "password": PASSWORD}
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: self.call("POST", "/api/v1/auth/register", body).status, range(8)))
        self.assertEqual(sorted(answers), [201] + [409] * 7)

    def test_an_unknown_user_and_a_wrong_password_get_the_same_answer(self):
        account = Account(self.node)
        unknown = self.call("POST", "/api/v1/auth/login", {"email": "nobody@example.com", "password": PASSWORD})
        wrong = self.call("POST", "/api/v1/auth/login", {"email": account.email, "password": PASSWORD + "x"})
        self.assertFailure(unknown, 401, "invalid_credentials")
        self.assertEqual(unknown.status, wrong.status)

        def comparable(answer):
            body = answer.json()
            body["error"].pop("requestId")
            own = {"x-request-id", "cf-ray", "date", "ratelimit-remaining"}
            return body, {name.lower(): value for name, value in answer.headers.items() if name.lower() not in own}

        self.assertEqual(comparable(unknown), comparable(wrong))

    def test_refresh_tokens_rotate_and_a_second_use_ends_the_session(self):
        account = Account(self.node)
        tokens = self.call("POST", "/api/v1/auth/refresh", {"refreshToken": account.refresh})
        self.assertEqual(tokens.status, 200, tokens.text)
        fresh, first = tokens.json(), account.access
        self.assertEqual(set(fresh), {"accessToken", "refreshToken", "tokenType", "expiresIn", "user"})
        self.assertNotIn(fresh["refreshToken"], (account.refresh,))
        account.access = fresh["accessToken"]
        self.assertEqual(account.call("GET", "/api/v1/auth/session").status, 200)

        reused = self.call("POST", "/api/v1/auth/refresh", {"refreshToken": account.refresh})
        self.assertFailure(reused, 401, "refresh_token_reused")
        # The whole family has ended: the token that was good, the session, and the access token of each refresh.
        after = self.call("POST", "/api/v1/auth/refresh", {"refreshToken": fresh["refreshToken"]})
        self.assertFailure(after, 401)
        for access in (first, fresh["accessToken"]):
            account.access = access
            self.assertFailure(account.call("GET", "/api/v1/auth/session"), 401, "session_ended")
            self.assertFailure(account.call("GET", "/api/v1/users/me"), 401, "session_ended")
        # Other sessions of the same user go on.
        account.sign_in()
        self.assertEqual(account.call("GET", "/api/v1/auth/session").status, 200)

    def test_of_refreshes_at_the_same_time_one_succeeds(self):
        account = Account(self.node)
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            statuses = list(pool.map(
                lambda _: self.call("POST", "/api/v1/auth/refresh", {"refreshToken": account.refresh}).status,
                range(6)))
        self.assertEqual(sorted(statuses), [200] + [401] * 5)

    def test_refresh_tokens_that_are_none(self):
        for text in ("", "short", "A" * 43, "ä" * 43, "A" * 5000):
            self.assertIn(self.call("POST", "/api/v1/auth/refresh", {"refreshToken": text}).status, (401, 422), text)

    def test_logging_out_ends_the_session_and_its_refresh_token(self):
        account = Account(self.node)
        other = account.sign_in()
        session = account.call("GET", "/api/v1/auth/session").json()
        self.assertEqual(session["user"]["id"], account.id)
        self.assertEqual(account.call("POST", "/api/v1/auth/logout").status, 204)
        self.assertFailure(account.call("GET", "/api/v1/auth/session"), 401)
        self.assertFailure(self.call("POST", "/api/v1/auth/refresh", {"refreshToken": other["refreshToken"]}), 401)
        # The access token would be good for a day; the session behind it is gone, for every service.
        for method, path in [
            ("GET", "/api/v1/users/me"), ("POST", "/api/v1/content"), ("GET", "/api/v1/analytics/summary"),
            ("POST", "/api/v1/auth/logout"),
        ]:
            self.assertFailure(account.call(method, path), 401, "session_ended")

    def test_nothing_brings_a_session_back(self):
        """Refreshing at the same time as logging out: once logged out, neither the session nor its tokens live."""
        for _ in range(10):
            account = Account(self.node)
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                refreshed = pool.submit(
                    self.call, "POST", "/api/v1/auth/refresh", {"refreshToken": account.refresh})
                ended = pool.submit(account.call, "POST", "/api/v1/auth/logout")
                self.assertEqual(ended.result().status, 204)
                refreshed = refreshed.result()
            self.assertIn(refreshed.status, (200, 401))
            self.assertFailure(account.call("GET", "/api/v1/users/me"), 401, "session_ended")
            if refreshed.status == 200:
                account.access = refreshed.json()["accessToken"]
                self.assertFailure(account.call("GET", "/api/v1/users/me"), 401, "session_ended")
                again = {"refreshToken": refreshed.json()["refreshToken"]}
                self.assertFailure(self.call("POST", "/api/v1/auth/refresh", again), 401)

    def test_a_disabled_account_has_no_sessions(self):
        account, other = Account(self.node), Account(self.node)
        database = os.path.join(self.project.path("state"), "must-be-viral/d1/platform.sqlite")
        with contextlib.closing(sqlite3.connect(database, timeout=20)) as connection, connection:
            connection.execute("UPDATE users SET status = 'disabled' WHERE id = ?", (account.id,))
        self.assertFailure(self.call("POST", "/api/v1/auth/refresh", {"refreshToken": account.refresh}), 401)
        wrong = {"email": account.email, "password": PASSWORD}
        self.assertFailure(self.call("POST", "/api/v1/auth/login", wrong), 403, "forbidden")
        # Access tokens end with the next minute's cron.
        self.fire("* * * * *", "auth-service")
        self.assertFailure(account.call("POST", "/api/v1/content", {"title": "x"}), 401, "session_ended")
        self.assertEqual(other.call("GET", "/api/v1/users/me").status, 200)
        self.fire("30 3 * * *", "auth-service")
        self.assertEqual(other.call("GET", "/api/v1/users/me").status, 200)

    def test_the_profile_can_be_changed(self):
        account, other = Account(self.node), Account(self.node)
        answer = account.call("PATCH", "/api/v1/users/me", {"displayName": "Zoë ✓", "bio": "one\ntwo"})
        self.assertEqual(answer.status, 200, answer.text)
        me = account.call("GET", "/api/v1/users/me").json()["user"]
        self.assertEqual((me["displayName"], me["bio"], me["email"]), ("Zoë ✓", "one\ntwo", account.email))
        self.assertNotIn("password", json.dumps(me).lower())
        account.call("PATCH", "/api/v1/users/me", {"bio": None})
        self.assertIsNone(account.call("GET", "/api/v1/users/me").json()["user"].get("bio"))
        self.assertFailure(account.call("PATCH", "/api/v1/users/me", {"username": other.username}), 409)
        self.assertFailure(account.call("PATCH", "/api/v1/users/me", {"username": None}), 422)
        self.assertFailure(account.call("PATCH", "/api/v1/users/me", {"avatarUrl": "javascript:alert(1)"}), 422)

    # MARK: The gateway

    def test_a_preflight_is_answered_for_known_origins_alone(self):
        asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization"}
        known = self.call("OPTIONS", "/api/v1/content", headers={"Origin": "http://localhost:3000", **asked})
        self.assertEqual(known.status, 204)
        self.assertEqual(known.header("access-control-allow-origin"), "http://localhost:3000")
        self.assertIn("PATCH", known.header("access-control-allow-methods"))
        self.assertIn("Authorization", known.header("access-control-allow-headers"))
        self.assertEqual(known.header("vary"), "Origin")
        strange = self.call("OPTIONS", "/api/v1/content", headers={"Origin": "https://evil.example", **asked})
        self.assertIsNone(strange.header("access-control-allow-origin"))
        self.assertIsNone(strange.header("access-control-allow-methods"))

    def test_cors_headers_are_on_answers_and_errors(self):
        for path, status in (("/api/health", 200), ("/api/v1/users/me", 401)):
            answer = self.call("GET", path, headers={"Origin": "http://localhost:5173"})
            self.assertEqual(answer.status, status)
            self.assertEqual(answer.header("access-control-allow-origin"), "http://localhost:5173")
            self.assertIn("ETag", answer.header("access-control-expose-headers"))
            self.assertEqual(answer.headers.get_all("vary"), ["Origin"])
            self.assertIsNone(answer.header("access-control-allow-credentials"))

    def test_every_answer_has_security_headers_and_a_request_id(self):
        account = Account(self.node)
        item = account.create()
        for answer in (
            self.call("GET", "/api/health"), self.call("GET", "/api/v1/users/me"), self.call("GET", "/api/nothing"),
            account.call("GET", f"/api/v1/content/{item['id']}"), account.call("DELETE", f"/api/v1/content/{item['id']}"),
        ):
            self.assertEqual(answer.header("x-content-type-options"), "nosniff")
            self.assertEqual(answer.header("x-frame-options"), "DENY")
            self.assertEqual(answer.header("referrer-policy"), "no-referrer")
            self.assertIn("default-src 'none'", answer.header("content-security-policy"))
            self.assertEqual(answer.header("cache-control"), "no-store")
            self.assertTrue(answer.header("x-request-id"))
            self.assertRegex(answer.header("cf-ray"), "^[0-9a-f]{16}-[A-Z]{3}$")
            self.assertFalse([name for name in answer.headers if name.lower().startswith("x-edge-")])

    def test_401_without_a_good_token(self):
        account = Account(self.node)
        claims = claims_of(account.access)
        now = int(time.time())
        bad = [
            "", "Bearer", "Bearer x", "Bearer a.b.c", "Basic " + account.access, account.access,
            "Bearer " + account.access[:-4] + "AAAA",
            "Bearer " + token(claims, key="another key of at least 32 bytes!"),
            "Bearer " + token(claims, algorithm="none"),
            "Bearer " + token({**claims, "exp": now - 10}),
            "Bearer " + token({**claims, "iss": "somebody else"}),
            "Bearer " + "x" * 8000,
        ]
        self.assertEqual(
            self.call("GET", "/api/v1/users/me", headers={"Authorization": "Bearer " + token(claims)}).status, 200,
            "the test's own signature is right")
        for header in bad:
            answer = self.call("GET", "/api/v1/users/me", headers={"Authorization": header} if header else {})
            self.assertFailure(answer, 401)
            self.assertTrue(answer.header("www-authenticate").startswith("Bearer"))

    def test_forged_identities_are_stripped(self):
        victim, account = Account(self.node), Account(self.node)
        session = str(uuid.uuid4())
        forged = {"X-Edge-User-Id": victim.id, "X-Edge-User-Role": "admin", "X-Edge-Session-Id": session}
        self.assertFailure(self.call("GET", "/api/v1/users/me", headers=forged), 401)
        self.assertFailure(self.call("POST", "/api/v1/auth/logout", headers=forged), 401)
        mine = account.call("GET", "/api/v1/users/me", headers=forged).json()["user"]
        self.assertEqual((mine["id"], mine["role"]), (account.id, "user"))
        secret = victim.create()
        self.assertFailure(account.call("GET", f"/api/v1/content/{secret['id']}", headers=forged), 404)

    def test_errors_of_paths_and_methods_have_the_same_form(self):
        account = Account(self.node)
        self.assertFailure(self.call("GET", "/api/nothing"), 404, "not_found")
        self.assertFailure(self.call("GET", "/api/v1/authentic"), 404, "not_found")
        self.assertFailure(account.call("GET", "/api/v1/content/not-an-id"), 404)
        self.assertFailure(account.call("GET", "/api/v1/content/x/y/z"), 404)
        item = f"/api/v1/content/{uuid.uuid4()}"
        for method, path, allowed in [
            ("DELETE", "/api/v1/users/me", {"GET", "HEAD", "PATCH"}), ("POST", "/api/health", {"GET", "HEAD"}),
            ("GET", "/api/v1/auth/login", {"POST"}), ("GET", "/api/v1/auth/logout", {"POST"}),
            ("PUT", "/api/v1/auth/session", {"GET", "HEAD"}), ("DELETE", "/api/v1/content", {"GET", "HEAD", "POST"}),
            ("POST", item, {"GET", "HEAD", "PUT", "PATCH", "DELETE"}),
            ("DELETE", item + "/media", {"GET", "HEAD", "PUT", "POST"}),
            ("POST", "/api/v1/analytics/summary", {"GET", "HEAD"}),
        ]:
            refused = account.call(method, path)
            self.assertFailure(refused, 405, "method_not_allowed")
            self.assertEqual(set(refused.header("allow").split(", ")), allowed, path)

    # MARK: Content

    def test_content_is_created_read_changed_and_deleted(self):
        account = Account(self.node)
        answer = account.call("POST", "/api/v1/content", {"title": "Édges", "body": "text", "type": "article"})
        self.assertEqual(answer.status, 201, answer.text)
        item = answer.json()
        path = answer.header("location")
        self.assertEqual(path, f"/api/v1/content/{item['id']}")
        self.assertEqual((item["status"], item["userId"], item["version"]), ("draft", account.id, 1))
        self.assertEqual(account.call("GET", path).json(), item)

        changed = account.call("PATCH", path, {"title": "Edges"}).json()
        self.assertEqual((changed["title"], changed["body"], changed["version"]), ("Edges", "text", 2))
        replaced = account.call("PUT", path, {"title": "Other", "type": "blog", "status": "published"}).json()
        self.assertEqual((replaced["title"], replaced["body"], replaced["status"]), ("Other", "", "published"))
        self.assertTrue(replaced["publishedAt"])
        self.assertFailure(account.call("PATCH", path, {"title": None}), 422)
        self.assertFailure(account.call("PATCH", path, {"status": "sold"}), 422)
        self.assertFailure(account.call("POST", "/api/v1/content", {"title": "x" * 201}), 422)
        self.assertEqual(account.call("DELETE", path).status, 204)
        self.assertFailure(account.call("DELETE", path), 404)
        self.assertFailure(account.call("GET", path), 404)

    def test_content_belongs_to_who_made_it(self):
        owner, other = Account(self.node), Account(self.node)
        path = f"/api/v1/content/{owner.create()['id']}"
        for method, body in (("GET", None), ("PATCH", {"title": "mine"}), ("PUT", {"title": "mine"}), ("DELETE", None)):
            self.assertFailure(other.call(method, path, body), 404)
        self.assertEqual(owner.call("PATCH", path, {"status": "published"}).status, 200)
        self.assertEqual(other.call("GET", path).status, 200)
        self.assertFailure(other.call("PATCH", path, {"title": "mine"}), 403, "forbidden")
        self.assertFailure(other.call("DELETE", path), 403)
        self.assertFailure(other.call("PUT", path + "/media", PNG, {"Content-Type": "image/png"}), 403)
        self.assertEqual(owner.call("GET", path).json()["title"], "A title")

    def test_lists_are_paged_newest_first(self):
        account = Account(self.node)
        made = [account.create(title=f"Number {number}")["id"] for number in range(7)]
        seen, cursor, pages = [], "", 0
        while True:
            page = account.call("GET", f"/api/v1/content?limit=3{cursor}").json()
            seen += [item["id"] for item in page["items"]]
            pages += 1
            if page["nextCursor"] is None:
                break
            if pages == 1:
                account.create(title="Between the pages")  # Must not shift what follows.
            cursor = f"&cursor={page['nextCursor']}"
        self.assertEqual((seen, pages), (made[::-1], 3))
        self.assertEqual(account.call("GET", "/api/v1/content?status=published").json()["items"], [])
        for query in ("limit=0", "limit=101", "limit=x", "status=sold", "scope=all"):
            self.assertFailure(account.call("GET", f"/api/v1/content?{query}"), 422)
        # A cursor holds for its own listing alone.
        for wrong in ("cursor=nonsense", f"status=draft{cursor}"):
            self.assertIn(account.call("GET", f"/api/v1/content?{wrong}").status, (400, 422))

    def test_a_public_list_shows_what_is_published(self):
        account, other = Account(self.node), Account(self.node)
        shown = account.create(status="published")["id"]
        hidden = account.create()["id"]
        listed = [item["id"] for item in other.call("GET", "/api/v1/content?scope=public&limit=100").json()["items"]]
        self.assertIn(shown, listed)
        self.assertNotIn(hidden, listed)

    # MARK: Media

    def test_images_come_back_whole_in_ranges_and_not_at_all_when_unchanged(self):
        account = Account(self.node)
        path = f"/api/v1/content/{account.create()['id']}/media"
        self.assertFailure(account.call("GET", path), 404)
        stored = account.call("PUT", path, PNG, {"Content-Type": "image/png"})
        self.assertEqual(stored.status, 201, stored.text)
        self.assertEqual(stored.json()["size"], len(PNG))

        whole = account.call("GET", path)
        self.assertEqual((whole.status, whole.body), (200, PNG))
        self.assertEqual(whole.header("content-type"), "image/png")
        self.assertEqual(whole.header("content-length"), str(len(PNG)))
        self.assertEqual(whole.header("accept-ranges"), "bytes")
        etag, modified, size = whole.header("etag"), whole.header("last-modified"), len(PNG)
        self.assertRegex(etag, '^"[^"]+"$')

        for header, first, last in [
            ("bytes=0-0", 0, 0), ("bytes=10-19", 10, 19), ("bytes=-5", size - 5, size - 1),
            ("bytes=100-", 100, size - 1), (f"bytes=5-{size * 2}", 5, size - 1), (f"bytes=-{size * 2}", 0, size - 1),
        ]:
            part = account.call("GET", path, headers={"Range": header})
            self.assertEqual(part.status, 206, header)
            self.assertEqual(part.header("content-range"), f"bytes {first}-{last}/{size}", header)
            self.assertEqual(part.body, PNG[first:last + 1], header)
        for header in (f"bytes={size}-", "bytes=99999999999999999999-", "bytes=-0"):
            beyond = account.call("GET", path, headers={"Range": header})
            self.assertFailure(beyond, 416)
            self.assertEqual(beyond.header("content-range"), f"bytes */{size}")
        for ignored in ("bytes=0-0,5-9", "lines=1-2", "bytes=9-5", "bytes=x"):
            self.assertEqual(account.call("GET", path, headers={"Range": ignored}).body, PNG, ignored)

        unchanged = [{"If-None-Match": etag}, {"If-None-Match": f'"x", W/{etag}'}, {"If-None-Match": "*"},
                     {"If-Modified-Since": modified}]
        for headers in unchanged:
            answer = account.call("GET", path, headers=headers)
            self.assertEqual((answer.status, answer.body), (304, b""), headers)
            self.assertEqual(answer.header("etag"), etag)
        self.assertEqual(account.call("GET", path, headers={"If-None-Match": '"x"'}).status, 200)
        other = account.call("GET", path, headers={"If-Match": '"x"'})
        self.assertFailure(other, 412, "precondition_failed")
        self.assertEqual(other.header("etag"), etag)
        self.assertFailure(account.call("GET", path, headers={"If-Match": '"x"', "If-None-Match": etag}), 412)
        self.assertEqual(account.call("GET", path, headers={"If-Match": etag}).status, 200)
        self.assertEqual(account.call("GET", path, headers={"If-Unmodified-Since": modified}).status, 200)
        # What must hold is judged first, then what must differ, and the range last (RFC 9110 §13.2.2).
        for headers in ({"If-Match": etag}, {"If-Unmodified-Since": modified}, {"Range": f"bytes={size}-"}):
            answer = account.call("GET", path, headers={**headers, "If-None-Match": etag})
            self.assertEqual((answer.status, answer.body), (304, b""), headers)
        self.assertFailure(account.call("GET", path, headers={"If-Match": '"x"', "Range": f"bytes={size}-"}), 412)
        self.assertEqual(account.call("GET", path, headers={"If-Match": etag, "Range": "bytes=0-3"}).body, PNG[:4])
        self.assertEqual(
            account.call("GET", path, headers={"Range": "bytes=0-3", "If-Range": etag}).status, 206)
        self.assertEqual(
            account.call("GET", path, headers={"Range": "bytes=0-3", "If-Range": '"x"'}).body, PNG)
        head = account.call("HEAD", path)
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(head.header("content-length"), str(size))
        # Range means nothing to HEAD (RFC 9110 §14.2); conditions do.
        self.assertEqual(account.call("HEAD", path, headers={"Range": "bytes=0-3"}).status, 200)
        self.assertEqual(account.call("HEAD", path, headers={"If-None-Match": etag}).status, 304)

    def test_a_new_image_replaces_the_old_one(self):
        account = Account(self.node)
        path = f"/api/v1/content/{account.create()['id']}/media"
        first = account.call("PUT", path, PNG, {"Content-Type": "image/png"}).json()
        second = account.call("PUT", path, PNG[::-1], {"Content-Type": "image/webp"})
        self.assertEqual(second.status, 200)
        self.assertNotEqual(first["etag"], second.json()["etag"])
        whole = account.call("GET", path, headers={"If-None-Match": f'"{first["etag"]}"'})
        self.assertEqual((whole.status, whole.body, whole.header("content-type")), (200, PNG[::-1], "image/webp"))

    def test_a_download_finds_an_image_while_it_is_replaced(self):
        account = Account(self.node)
        path = f"/api/v1/content/{account.create()['id']}/media"
        images = [bytes([number]) * 3000 for number in range(60)]
        self.assertEqual(account.call("PUT", path, images[0], {"Content-Type": "image/png"}).status, 201)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            done = threading.Event()

            def download(headers):
                answers = []
                while not done.is_set():
                    answers.append(account.call("GET", path, headers=headers))
                return answers

            readers = [pool.submit(download, headers) for headers in ({}, {"Range": "bytes=0-"}, {"If-Match": "*"})]
            try:
                for image in images[1:]:
                    self.assertEqual(account.call("PUT", path, image, {"Content-Type": "image/png"}).status, 200)
            finally:
                done.set()
            for answer in [answer for reader in readers for answer in reader.result()]:
                self.assertIn(answer.status, (200, 206), answer.text[:300])
                self.assertIn(answer.body, images)

    def test_an_image_goes_with_its_content(self):
        account = Account(self.node)
        path = f"/api/v1/content/{account.create()['id']}"
        self.assertEqual(account.call("PUT", path + "/media", PNG, {"Content-Type": "image/png"}).status, 201)
        self.assertEqual(account.call("DELETE", path).status, 204)
        self.assertFailure(account.call("GET", path + "/media"), 404)
        self.assertFailure(account.call("PUT", path + "/media", PNG, {"Content-Type": "image/png"}), 404)

    def test_what_is_no_image_is_refused(self):
        account = Account(self.node)
        path = f"/api/v1/content/{account.create()['id']}/media"
        self.assertFailure(account.call("PUT", path, b"<svg/>", {"Content-Type": "image/svg+xml"}), 415)
        self.assertFailure(account.call("PUT", path, b"", {"Content-Type": "image/png"}), 400)
        self.assertFailure(account.call("PUT", path, iter([PNG]), {"Content-Type": "image/png"}), 411)

    # MARK: Analytics

    def test_events_reach_the_summary(self):
        account = Account(self.node)
        before = account.call("GET", "/api/v1/analytics/summary").json()
        self.assertEqual(before["mine"]["totalEvents"], 0)
        path = f"/api/v1/content/{account.create()['id']}"
        account.call("PATCH", path, {"status": "published"})
        account.call("PATCH", path, {"title": "New"})
        account.call("DELETE", path)
        wanted = {"content.created": 1, "content.published": 1, "content.updated": 1, "content.deleted": 1}
        wait_until(
            lambda: account.call("GET", "/api/v1/analytics/summary").json()["mine"]["byType"] == wanted,
            what="all events in the summary")
        after = account.call("GET", "/api/v1/analytics/summary").json()
        self.assertGreaterEqual(after["totalEvents"], before["totalEvents"] + 4)
        self.assertFailure(account.call("GET", "/api/v1/analytics/summary?days=0"), 422)

    def test_crons_are_fired_by_hand(self):
        fired = edge("trigger", "cron", "--worker", "analytics-service", "--control", self.node.control)
        self.assertEqual((fired.returncode, fired.stdout), (0, "ok\n"), fired.stderr)
        self.fire("0 3 * * *", "analytics-service")
        self.assertEqual(self.node.get("/cdn-cgi/handler/scheduled?worker=analytics-service").text, "ok\n")
        self.assertEqual(self.node.get("/cdn-cgi/handler/scheduled?cron=0+3+*+*+*&time=1700000000000").text, "ok\n")
        self.node.wait_for_log("before=2023-11-14")
        unknown = edge("trigger", "cron", "1 1 * * *", "--control", self.node.control)
        self.assertEqual(unknown.returncode, 1)
        for known in ('"0 3 * * *" (analytics-service)', '"* * * * *" (content-service)', '"30 3 * * *" (auth-service)'):
            self.assertIn(known, unknown.stderr)


class RateLimits(unittest.TestCase):
    def test_too_many_requests_are_told_when_to_come_again(self):
        limits = ["--set", FAST]
        for name, count in (("ADDRESS", 40), ("ADDRESS_CREDENTIALS", 6), ("USER", 5)):
            limits += ["--set", f"workers.api-gateway.ratelimits.PER_{name}.limit={count}"]
        # Several isolates share the node's counters: the numbers are exact all the same.
        limits += ["--set", "workers.api-gateway.isolates.min=3", "--set", "workers.api-gateway.isolates.max=3",
                   "--set", "workers.api-gateway.isolates.concurrency=1"]
        with Project(dev_vars=f"JWT_KEY={JWT_KEY}\n") as project, project.dev("--no-watch", *limits) as node:
            account = Account(node)
            allowed = [account.call("GET", "/api/v1/users/me") for _ in range(5)]
            self.assertEqual([answer.status for answer in allowed], [200] * 5)
            self.assertEqual([answer.header("ratelimit-remaining") for answer in allowed], list("43210"))
            refused = account.call("GET", "/api/v1/users/me")
            self.assertEqual((refused.status, code(refused)), (429, "rate_limited"))
            self.assertIn(int(refused.header("retry-after")), range(1, 61))
            self.assertEqual(refused.header("ratelimit-limit"), "5")
            # Another user is another budget; passwords have a tighter one than the address.
            statuses = [
                call(node, "POST", "/api/v1/auth/login", {"email": "a@b.example", "password": "wrong one"}).status
                for _ in range(6)]
            self.assertEqual(statuses, [401] * 4 + [429] * 2)
            # A forged address changes nothing.
            forged = {"CF-Connecting-IP": "9.9.9.9", "X-Forwarded-For": "9.9.9.9", "X-Real-IP": "9.9.9.9"}
            statuses = [call(node, "GET", "/api/health", headers=forged).status for _ in range(40)]
            self.assertIn(429, statuses)
            self.assertEqual(statuses, sorted(statuses))


class Restarts(unittest.TestCase):
    """What was acknowledged is there after every kind of end."""

    def assertKept(self, account, item, media):
        self.assertEqual(account.call("GET", "/api/v1/auth/session").status, 200, "the session goes on")
        account.sign_in()
        self.assertEqual(account.call("GET", f"/api/v1/content/{item['id']}").json()["title"], item["title"])
        self.assertEqual(account.call("GET", media).body, PNG)

    def test_accounts_content_and_counts_survive(self):
        with Project(dev_vars=f"JWT_KEY={JWT_KEY}\n") as project:
            node = project.dev("--no-watch", *FREE)
            with node:
                account = Account(node)
                item = account.create(title="Kept")
                media = f"/api/v1/content/{item['id']}/media"
                self.assertEqual(account.call("PUT", media, PNG, {"Content-Type": "image/png"}).status, 201)
                wanted = {"content.created": 1, "content.media_uploaded": 1}
                self.wait_for_counts(account, wanted)
                self.assertEqual(node.stop(), 0)
                self.assertNotIn("error", node.log_text())

            # What a delivery that was never acknowledged looks like: the events are in the outbox once more.
            database = os.path.join(project.path("state"), "must-be-viral/d1/platform.sqlite")
            yesterday = int(time.time() * 1000) - 86_400_000
            broken = str(uuid.uuid4())
            with sqlite3.connect(database) as connection:
                rows = connection.execute(
                    "SELECT id, type, actor_id, subject_id, data, occurred_at FROM analytics_events").fetchall()
                self.assertEqual(len(rows), 2)
                for id, type, actor, subject, data, occurred in rows:
                    event = {"schema": 1, "id": id, "type": type, "occurredAt": occurred, "actorId": actor,
                             "subjectId": subject, "data": json.loads(data)}
                    connection.execute("INSERT INTO content_outbox VALUES (?, ?, ?)", (id, json.dumps(event), 1))
                connection.execute("INSERT INTO content_outbox VALUES (?, '[]', 0)", (broken,))
                connection.execute(
                    "INSERT INTO analytics_events VALUES (?, 'content.created', ?, ?, '{}', ?, ?, 'd')",
                    (str(uuid.uuid4()), account.id, item["id"], yesterday, yesterday))
            connection.close()

            with project.dev("--no-watch", *FREE) as node:
                account.node = node
                self.assertKept(account, item, media)
                account.call("PATCH", f"/api/v1/content/{item['id']}", {"status": "published"})
                # No change sweeps the outbox, the cron does; each event counts once, however often it is delivered.
                self.sweep(node)
                wanted = {"content.created": 2, "content.media_uploaded": 1, "content.published": 1}
                self.wait_for_counts(account, wanted)
                # What can't be read stays, and stops nobody.
                wait_until(
                    lambda: self.select(database, "SELECT event_id FROM content_outbox") == [(broken,)],
                    what="an outbox without good events")
                node.wait_for_log("event in the outbox cannot be read")
                second = account.create(title="Second")
                self.wait_for_counts(account, {**wanted, "content.created": 3})
                total = account.call("GET", "/api/v1/analytics/summary").json()["byType"]
                self.assertEqual(
                    total, {"content.created": 2, "content.media_uploaded": 1, "content.published": 1},
                    "counts are kept by delivery: yesterday's event was put there behind their back")
                fired = edge("trigger", "cron", "0 3 * * *", "--control", node.control)
                self.assertEqual(fired.returncode, 0, fired.stderr)
                day = time.strftime("%Y-%m-%d", time.gmtime(yesterday / 1000))
                self.assertEqual(
                    self.select(database, "SELECT day, type, events, actors, subjects FROM analytics_daily"),
                    [(day, "content.created", 1, 1, 1)])
                last = account.create(title="Last words")
                node.kill()

            with project.dev("--no-watch", *FREE) as node:
                account.node = node
                self.assertKept(account, item, media)
                self.assertKept(account, second, media)
                self.assertKept(account, last, media)
                # The node may have died before the queue had the event: the cron sends it, once it is old enough.
                self.wait_for_counts(account, {**wanted, "content.created": 4}, meanwhile=lambda: self.sweep(node))

    def sweep(self, node):
        fired = edge("trigger", "cron", "* * * * *", "--worker", "content-service", "--control", node.control)
        self.assertEqual(fired.returncode, 0, fired.stderr)

    def wait_for_counts(self, account, wanted, meanwhile=lambda: None):
        def counts():
            meanwhile()
            return account.call("GET", "/api/v1/analytics/summary").json()["mine"]["byType"]

        try:
            wait_until(lambda: counts() == wanted, what="the counts")
        except AssertionError:
            self.assertEqual(counts(), wanted)

    def select(self, database, query):
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()


if __name__ == "__main__":
    unittest.main()
