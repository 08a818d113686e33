#!/usr/bin/env python3
"""Walks a running platform from registration to analytics and prints each exchange.

Usage: scripts/demo.py [http://localhost:8787]

Needs a platform that answers (`make dev` in another terminal) and Python 3 alone. Ends with 0 when every answer was
the expected one, with 1 at the first that was not.
"""

import argparse
import binascii
import http.client
import json
import os
import struct
import sys
import time
import urllib.parse
import zlib

BOLD, DIM, GREEN, RED, CYAN, RESET = (
    ("\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[36m", "\033[0m")
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    else ("",) * 6
)
SHOWN_HEADERS = (
    "location", "etag", "content-range", "content-type", "retry-after", "ratelimit-remaining", "x-request-id",
)


class Mismatch(Exception):
    pass


def expect(holds, message):
    if not holds:
        raise Mismatch(message)


def shortened(text, limit=600):
    return text if len(text) <= limit else text[:limit] + f" … ({len(text)} characters)"


def redacted(value):
    """Tokens and passwords are shown by their first characters only."""
    if isinstance(value, dict):
        return {
            key: (item[:12] + "…" if key in ("accessToken", "refreshToken", "password") and item else redacted(item))
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [redacted(item) for item in value]
    return value


class Client:
    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self.connection = kind(parts.hostname, parts.port, timeout=30)
        self.token = None
        self.step = 0

    def call(self, title, method, path, body=None, headers=None, status=200):
        """Makes one exchange, prints it and checks its status."""
        self.step += 1
        headers = dict(headers or {})
        if self.token:
            headers["Authorization"] = "Bearer " + self.token
        data = body
        if isinstance(body, (dict, list)):
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        print(f"\n{BOLD}{self.step}. {title}{RESET}")
        print(f"{CYAN}→ {method} {path}{RESET}")
        for name, value in headers.items():
            print(f"{DIM}  {name}: {value[:24] + '…' if name == 'Authorization' else value}{RESET}")
        if isinstance(body, (dict, list)):
            print("  " + json.dumps(redacted(body)))
        elif body is not None:
            print(f"  ({len(body)} bytes)")
        started = time.monotonic()
        self.connection.request(method, path, data, headers)
        answer = self.connection.getresponse()
        content = answer.read()
        elapsed = (time.monotonic() - started) * 1000
        names = {name.lower(): value for name, value in answer.getheaders()}
        colour = GREEN if answer.status == status else RED
        print(f"{colour}← {answer.status} {answer.reason}{RESET} {DIM}({elapsed:.1f} ms){RESET}")
        for name in SHOWN_HEADERS:
            if name in names:
                print(f"{DIM}  {name}: {names[name]}{RESET}")
        result = content
        if "json" in names.get("content-type", ""):
            result = json.loads(content)
            print("  " + shortened(json.dumps(redacted(result))))
        elif content:
            print(f"  ({len(content)} bytes)")
        expect(answer.status == status, f"{method} {path} answered {answer.status}, not {status}")
        expect("x-request-id" in names, f"{method} {path} has no X-Request-ID")
        if answer.status >= 400 and method != "HEAD":
            error = result.get("error", {}) if isinstance(result, dict) else {}
            expect(
                all(error.get(key) for key in ("code", "message", "requestId")),
                f"{method} {path} has no structured error",
            )
        return result, names


def png(width, height):
    """A picture of colours, made here so that the demo needs no file."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", binascii.crc32(kind + data))

    rows = b"".join(
        b"\0" + bytes(v for x in range(width) for v in (x * 255 // width, y * 255 // height, (x * y) % 256))
        for y in range(height)
    )
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def walk(client):
    run = os.urandom(5).hex()
    account = {"email": f"demo-{run}@example.com", "username": f"demo-{run}", "password": f"correct horse {run}"}

    health, _ = client.call("Are all services there?", "GET", "/api/health")
    expect(health["status"] == "ok" and len(health["services"]) >= 4, "not every service is healthy")

    client.call("Nothing without signing in", "GET", "/api/v1/users/me", status=401)

    bad, _ = client.call(
        "Every wrong field is named", "POST", "/api/v1/auth/register",
        {"email": "nonsense", "username": "x", "password": "short"}, status=422,
    )
    expect(set(bad["error"]["fields"]) == {"email", "username", "password"}, "not all wrong fields are named")

    made, _ = client.call("Register", "POST", "/api/v1/auth/register", account, status=201)
    expect(made["user"]["email"] == account["email"], "register answered another e-mail address")
    client.call("The same again is a conflict", "POST", "/api/v1/auth/register", account, status=409)

    client.call(
        "A wrong password", "POST", "/api/v1/auth/login",
        {"email": account["email"], "password": "wrong password"}, status=401,
    )
    tokens, _ = client.call(
        "Log in", "POST", "/api/v1/auth/login", {key: account[key] for key in ("email", "password")}
    )
    expect(tokens["expiresIn"] == 86400, "the access token is not valid for 24 hours")
    client.token = tokens["accessToken"]

    fresh, _ = client.call(
        "Refresh: both tokens are replaced", "POST", "/api/v1/auth/refresh", {"refreshToken": tokens["refreshToken"]}
    )
    expect(fresh["refreshToken"] != tokens["refreshToken"], "the refresh token was not replaced")
    client.token = fresh["accessToken"]
    session, _ = client.call("The session", "GET", "/api/v1/auth/session")
    expect(session["user"]["id"] == made["user"]["id"], "the session is another user's")

    me, _ = client.call("Change the profile", "PATCH", "/api/v1/users/me", {"displayName": "Demo", "bio": "Here for a minute."})
    expect(me["user"]["displayName"] == "Demo", "the profile was not changed")

    item, names = client.call(
        "Create content", "POST", "/api/v1/content",
        {"title": "Ten things about edges", "body": "The tenth will surprise you.", "type": "article"}, status=201,
    )
    path = names["location"]
    expect(item["status"] == "draft" and path.endswith(item["id"]), "the new content is not a draft at its location")
    client.call("A second one", "POST", "/api/v1/content", {"title": "One more thing", "type": "post"}, status=201)

    picture = png(160, 120)
    media, _ = client.call(
        "Upload an image", "PUT", path + "/media", picture, {"Content-Type": "image/png"}, status=201
    )
    expect(media["size"] == len(picture), "the stored image has another size")
    client.call("What is no image is refused", "PUT", path + "/media", b"<svg/>", {"Content-Type": "image/svg+xml"}, status=415)

    whole, names = client.call("Download it", "GET", path + "/media")
    expect(whole == picture, "the downloaded image is another one")
    etag = names["etag"]
    part, names = client.call("Download a range", "GET", path + "/media", headers={"Range": "bytes=0-15"}, status=206)
    expect(part == picture[:16], "the range has other bytes")
    expect(names["content-range"] == f"bytes 0-15/{len(picture)}", "Content-Range is another one")
    client.call("Not changed since", "GET", path + "/media", headers={"If-None-Match": etag}, status=304)

    published, _ = client.call("Publish", "PATCH", path, {"status": "published"})
    expect(published["status"] == "published" and published.get("publishedAt"), "the content is not published")

    first, _ = client.call("List, one per page", "GET", "/api/v1/content?limit=1")
    second, _ = client.call(
        "The next page", "GET", "/api/v1/content?limit=1&cursor=" + urllib.parse.quote(first["nextCursor"])
    )
    listed = [entry["id"] for entry in first["items"] + second["items"]]
    expect(len(set(listed)) == 2 and item["id"] in listed, "the pages do not hold both items")
    expect(second["nextCursor"] is None, "there is a third page")

    wanted = {"content.created": 2, "content.media_uploaded": 1, "content.published": 1}
    deadline = time.monotonic() + 60
    while True:
        summary, _ = client.call("Analytics, once the queue has been drained", "GET", "/api/v1/analytics/summary")
        if summary["mine"]["byType"] == wanted:
            break
        expect(time.monotonic() < deadline, f"after 60 s the summary shows {summary['mine']['byType']}, not {wanted}")
        time.sleep(1)

    client.call("Delete", "DELETE", path, status=204)
    client.call("It is gone", "GET", path, status=404)
    client.call("Log out", "POST", "/api/v1/auth/logout", status=204)
    client.call("The session has ended", "GET", "/api/v1/auth/session", status=401)
    client.call("So the access token is worth nothing", "GET", "/api/v1/users/me", status=401)
    client.token = None
    client.call(
        "And its refresh token with it", "POST", "/api/v1/auth/refresh", {"refreshToken": fresh["refreshToken"]},
        status=401,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("url", nargs="?", default="http://localhost:8787")
    url = parser.parse_args().url
    try:
        client = Client(url)
        walk(client)
    except Mismatch as mismatch:
        print(f"\n{RED}✗ {mismatch}{RESET}", file=sys.stderr)
        return 1
    except (OSError, http.client.HTTPException) as error:
        print(f"\n{RED}✗ {url}: {error or type(error).__name__}; is `make dev` running?{RESET}", file=sys.stderr)
        return 1
    print(f"\n{GREEN}✓ {client.step} exchanges, all as expected.{RESET}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
