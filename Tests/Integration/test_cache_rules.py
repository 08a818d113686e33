"""What a shared cache does, case by case (RFC 9111, 5861, 9213), in front of workers and around their `fetch`.

A case is a list of steps. A step says what the origin answers if it is asked, what the client sends, and what must come of
it: whether the origin was asked, and what the client got. All steps before a `LATER` are made for all cases, then time
passes once for all: what was to be fresh for a second is stale then.

Where the product that we follow does otherwise than RFC 9111 would allow at best, the case says so.
"""

import email.utils
import http.server
import threading
import time
import unittest

from harness import wait_until
from projects import Project

LATER = "later"
STALE_SOON = "max-age=1"
ETAG, MODIFIED = '"v1"', "Wed, 01 Jan 2020 00:00:00 GMT"


def date(seconds=0):
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


class Origin(http.server.BaseHTTPRequestHandler):
    """Answers as `server.plan` says by path, and notes what it was asked."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self):
        path = self.path.partition("?")[0]
        length = int(self.headers.get("Content-Length", 0))
        self.rfile.read(length)
        with self.server.lock:
            self.server.asked.setdefault(path, []).append(
                (self.command, self.path, {name.lower(): value for name, value in self.headers.items()}))
            plan = self.server.plan[path]
        if plan.disconnects:
            self.close_connection = True
            return
        status, headers, body = plan.status, list(plan.headers), plan.body
        if plan.validates and self.is_unchanged(plan):
            status, body = 304, b""
        if plan.early:
            self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x.css>\r\nX-Early: 1\r\n\r\n")
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(body)

    def is_unchanged(self, plan):
        if plan.validates == "etag":
            return self.headers.get("If-None-Match") == ETAG
        return self.headers.get("If-Modified-Since") == MODIFIED

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def log_message(self, *_):
        pass


def pairs(headers):
    """From keywords, whose values may be lists: one line each."""
    found = []
    for name, value in headers.items():
        for line in value if isinstance(value, list) else [value]:
            found.append((name.replace("_", "-"), line))
    return found


class Step:
    def __init__(self, came, send=None, get=None, sent=None, body=None, method="GET", status=200, expects=None, says=None,
                 query="", upload=None, validates=None, disconnects=False, early=False, content=None, **headers):
        """`came` is "origin" or "cache". `status` and `headers` are the origin's, `validates` makes a 304 of it when it is asked
        so; `send` is the client's; `get` what it gets (`None`: not there), `sent` what the origin sees. `body` is the number
        of the step that the body stems from, `expects` another status than the origin's, `says` CF-Cache-Status."""
        self.came, self.send, self.get, self.sent = came, send or {}, get or {}, sent or {}
        self.body_of, self.method, self.status, self.expects, self.says = body, method, status, expects, says
        self.query, self.upload = query, upload
        self.validates, self.disconnects, self.early = validates, disconnects, early
        self.content, self.headers = content, pairs(headers)


def origin(*arguments, **keywords):
    return Step("origin", *arguments, **keywords)


def cached(*arguments, **keywords):
    return Step("cache", *arguments, **keywords)


def kept(**headers):
    """A response with these headers is found again."""
    return [origin(says="MISS", **headers), cached(says="HIT")]


def passed(says=None, **headers):
    """One that isn't."""
    return [origin(says=says, **headers), origin(says=says, **headers)]


def soon(first, *rest):
    return [first, LATER, *rest]


BOTH, FRONT, FETCH = ("through", "around"), ("through",), ("around",)
CASES = {}


def case(name, *steps, kinds=BOTH):
    assert name not in CASES, name
    flat = []
    for step in steps:
        flat += step if isinstance(step, list) else [step]
    CASES[name] = (flat, kinds)


# Freshness: RFC 9111 §4.2.
case("fresh: max-age", kept(cache_control="max-age=3600"))
case("fresh: max-age, case", kept(cache_control="MaX-aGe=3600"))
case("fresh: as much as 31 bits hold, and more", kept(cache_control="max-age=2147483648"))
case("fresh: more than 63 bits hold", kept(cache_control="max-age=99999999999999999999"))
case("fresh: leading zeros", kept(cache_control="max-age=003600"))
case("fresh: quoted", kept(cache_control='max-age="3600"'))
case("fresh: beside an extension", kept(cache_control="max-age=3600, x, y=1, z=\"a, b\""))
case("fresh: beside an old Expires", kept(cache_control="max-age=3600", expires="Wed, 01 Jan 2020 00:00:00 GMT"))
case("fresh: beside no Expires", kept(cache_control="max-age=3600", expires="0"))
case("fresh: s-maxage before max-age", kept(cache_control="max-age=0, s-maxage=3600"))
case("fresh: on two lines", kept(cache_control=["public", "max-age=3600"]))
case("stale: max-age is over", soon(origin(cache_control=STALE_SOON), origin(cache_control="max-age=3600", says="EXPIRED", body=1), cached(body=1)))
case("stale: max-age=0", passed("BYPASS", cache_control="max-age=0"))
case("stale: max-age=0 before Expires", passed("BYPASS", cache_control="max-age=0", expires=date(3600)))
case("stale: negative", passed(cache_control="max-age=-3600"))
case("stale: no number", passed(cache_control="max-age=a100"))
case("stale: a number and more", passed(cache_control="max-age=100a"))
case("stale: a fraction", passed(cache_control="max-age=3600.0"))
case("stale: in single quotes", passed(cache_control="max-age='3600'"))
case("stale: max-age inside of a string", passed(cache_control='x="max-age=3600", max-age=0'))
case("stale: s-maxage before a longer max-age", soon(origin(cache_control="max-age=3600, s-maxage=1"), origin(body=1)))
case("fresh: the first of two max-age", kept(cache_control="max-age=3600, max-age=0"))
case("stale: the first of two max-age", passed(cache_control="max-age=0, max-age=3600"))

# Age: §4.2.3, §5.1.
case("age: not more than max-age", kept(cache_control="max-age=3600", age="10"))
case("age: more than max-age", passed(cache_control="max-age=3600", age="7200"))
case("age: goes on from what it was", origin(cache_control="max-age=3600", age="100"),
     cached(get={"age": lambda age: 100 <= int(age) < 160}))
case("age: 31 bits and more", passed(cache_control="max-age=3600", age="2147483649"))
case("age: no number", kept(cache_control="max-age=3600", age="old"))
case("age: negative", kept(cache_control="max-age=3600", age="-7200"))
case("age: a fraction", kept(cache_control="max-age=3600", age="7200.5"))
case("age: of several the first", passed(cache_control="max-age=3600", age=["7200", "0"]))
case("age: of several the first, on one line", kept(cache_control="max-age=3600", age="0, 7200"))
case("age: what the date says", passed(cache_control="max-age=3600", date=date(-7200)))
case("age: not said of what the origin has just made", origin(cache_control="max-age=3600", get={"age": None}),
     cached(get={"age": lambda age: int(age) < 60}))
case("date: stays in what is kept", origin(cache_control="max-age=3600", date=date(-100)),
     cached(get={"date": lambda text: 90 <= time.time() - email.utils.parsedate_to_datetime(text).timestamp() < 3600}), kinds=FRONT)

# Expires: §5.3.
case("expires: in the future", kept(expires=date(3600), date=date()))
case("expires: without a date", kept(expires=date(3600)))
case("expires: with a date that is none", kept(expires=date(3600), date="yesterday"))
case("expires: far in the future", kept(expires="Fri, 01 Jan 2038 00:00:00 GMT"))
case("expires: RFC 850", kept(expires="Friday, 01-Jan-38 00:00:00 GMT"))
case("expires: asctime", kept(expires="Fri Jan  1 00:00:00 2038"))
case("expires: in the past", passed("BYPASS", expires=date(-3600)))
case("expires: now", passed("BYPASS", expires=date(), date=date()))
case("expires: before the date", passed(expires=date(3000), date=date(3600)))
case("expires: 0", passed("BYPASS", expires="0"))
for number, text in enumerate([
        "Fri, 01 Jan 2038 00:00:00 UTC", "Fri, 01 Jan 38 00:00:00 GMT", "Fri 01 Jan 2038 00:00:00 GMT",
        "Fri, 01-Jan-2038 00:00:00 GMT", "Fri, 01 Jan 2038 00.00.00 GMT", "Fri, 01 Jan 2038 0:00:00 GMT", "1"]):
    case(f"expires: no date {number}", passed("BYPASS", expires=text))
case("expires: on two lines", passed("BYPASS", expires=[date(3600), date(7200)]))
case("expires: older than its age", passed(expires=date(3600), date=date(), age="7200"))

# Without a word: the product's table for `fetch` (a deviation from the tenth of Last-Modified), nothing in front of workers
# whose ttl is 0.
case("heuristic: 200 by the table", kept(last_modified=MODIFIED), kinds=FETCH)
case("heuristic: 404 by the table", kept(status=404)[0], cached(expects=404), kinds=FETCH)
case("heuristic: 403 isn't in it", origin(status=403), origin(status=403), kinds=FETCH)
case("heuristic: 503 isn't in it", origin(status=503), origin(status=503), kinds=FETCH)
case("heuristic: none where ttl is 0", passed("DYNAMIC", last_modified=MODIFIED), kinds=FRONT)

# What the request says of caching is the client's wish, and a shared cache of the origin's side doesn't grant it (§5.2.1
# allows both; the product doesn't either).
for directive in ("no-cache", "no-store", "max-age=0", "min-fresh=100000", "only-if-cached"):
    case(f"request: {directive}", origin(cache_control="max-age=3600"), cached(send={"cache-control": directive}))
case("request: only-if-cached, and nothing is", origin(send={"cache-control": "only-if-cached"}, cache_control="max-age=3600"))
case("request: max-stale", soon(origin(cache_control=STALE_SOON), origin(send={"cache-control": "max-stale=1000"}, body=1)))
case("pragma: of the request", origin(cache_control="max-age=3600"), cached(send={"pragma": "no-cache"}))
case("pragma: of the response", kept(cache_control="max-age=3600", pragma="no-cache"))

# What the response says: §5.2.2.
for directive in ("no-store", "No-StOrE", "private", "no-cache", "No-CaChE"):
    case(f"response: {directive}", passed("BYPASS", cache_control=f"{directive}, max-age=3600", expires=date(3600)))
case("response: no-store behind something stale",
     soon(origin(cache_control=STALE_SOON), origin(cache_control="no-store", body=1), origin(cache_control="no-store", body=2)))
case("response: no-store and must-understand, a known status", kept(cache_control="must-understand, no-store, max-age=3600"))
case("response: must-understand, a status that nobody knows",
     origin(status=599, cache_control="must-understand, max-age=3600"), origin(status=599))
case("response: named fields of no-cache are left out", origin(cache_control='max-age=3600, no-cache="x-a, X-B"', x_a="1", x_b="1", x_c="1"),
     cached(get={"x-a": None, "x-b": None, "x-c": "1"}))
case("response: named fields of private are left out", origin(cache_control='max-age=3600, private="X-A"', x_a="1", x_c="1"),
     cached(get={"x-a": None, "x-c": "1"}))
case("response: must-revalidate while fresh", kept(cache_control="max-age=3600, must-revalidate"))
case("response: must-revalidate when stale", soon(origin(cache_control=STALE_SOON + ", must-revalidate"), origin(body=1)))
# A deviation: nothing with a cookie is kept, unless it names the cookie as private.
case("response: a cookie", passed("BYPASS", cache_control="max-age=3600", set_cookie="a=1"))
case("response: a cookie that is private", origin(cache_control="max-age=3600, private=Set-Cookie", set_cookie="a=1"),
     cached(get={"set-cookie": None}))

# CDN-Cache-Control: RFC 9213.
case("targeted: max-age", kept(cdn_cache_control="max-age=3600"))
case("targeted: before no-store", kept(cdn_cache_control="max-age=3600", cache_control="no-store"))
case("targeted: before an old Expires", kept(cdn_cache_control="max-age=3600", expires="0"))
case("targeted: the product's own name first",
     origin(cloudflare_cdn_cache_control="max-age=3600", cdn_cache_control="no-store", get={"cloudflare-cdn-cache-control": None},
            says="MISS"),
     cached(get={"cloudflare-cdn-cache-control": None, "cdn-cache-control": "no-store"}), kinds=FRONT)
for directive in ("no-store", "private", "no-cache", "max-age=0"):
    case(f"targeted: {directive}", passed("BYPASS", cdn_cache_control=directive, cache_control="max-age=3600", expires=date(3600)))
case("targeted: shorter", soon(origin(cdn_cache_control=STALE_SOON, cache_control="max-age=3600"), origin(body=1)))
case("targeted: older than it says", passed(cdn_cache_control="max-age=3600", age="7200"))
for number, text in enumerate(["max-age=10000, &&&", 'max-age="10000"', "max-age =10000", "max-age= 10000", "Max-Age=10000", "max-age=10000,", ""]):
    case(f"targeted: no dictionary {number}", passed("BYPASS", cdn_cache_control=text, cache_control="no-store"))

# Asking whether it still holds: §4.3.1, from the client: §4.3.2.
case("etag: asked after when stale",
     soon(origin(cache_control=STALE_SOON, etag=ETAG, x_a="1"),
          origin(validates="etag", cache_control="max-age=3600", etag=ETAG, says="REVALIDATED", expects=200, body=0,
                 sent={"if-none-match": ETAG}, get={"x-a": "1"}),
          cached(says="HIT", body=0)))
case("etag: a weak one too", soon(origin(cache_control=STALE_SOON, etag='W/"v1"'), origin(sent={"if-none-match": 'W/"v1"'}, body=1)))
case("etag: another one has come", soon(origin(cache_control=STALE_SOON, etag=ETAG),
     origin(cache_control="max-age=3600", etag='"v2"', says="EXPIRED", body=1), cached(body=1, get={"etag": '"v2"'})))
case("modified: asked after when stale",
     soon(origin(cache_control=STALE_SOON, last_modified=MODIFIED),
          origin(validates="modified", cache_control="max-age=3600", says="REVALIDATED", expects=200, body=0,
                 sent={"if-modified-since": MODIFIED}), cached(body=0)))
case("etag: the client's own is no question of ours",
     soon(origin(cache_control=STALE_SOON, etag=ETAG),
          origin(send={"if-none-match": '"other"'}, validates="etag", cache_control="max-age=3600", etag=ETAG, expects=200, body=0,
                 sent={"if-none-match": ETAG})))
case("etag: the client has it, and it holds",
     soon(origin(cache_control=STALE_SOON, etag=ETAG),
          origin(send={"if-none-match": ETAG}, validates="etag", cache_control="max-age=3600", etag=ETAG, expects=304,
                 get={"etag": ETAG})))
case("etag: 304 about another one is no answer",
     soon(origin(cache_control=STALE_SOON, etag=ETAG),
          Step("origin twice", validates="etag", cache_control="max-age=3600", etag='"v2"', expects=200, body=1)))
case("etag: passed on where nothing is kept", origin(send={"if-none-match": ETAG}, validates="etag", expects=304, etag=ETAG,
                                                      sent={"if-none-match": ETAG}))
case("client: the stored tag", origin(cache_control="max-age=3600", etag=ETAG, x_a="1"),
     cached(send={"if-none-match": ETAG}, expects=304, get={"etag": ETAG, "content-length": None}))
case("client: the stored tag, weakly", origin(cache_control="max-age=3600", etag=ETAG), cached(send={"if-none-match": 'W/"v1"'}, expects=304))
case("client: one of several", origin(cache_control="max-age=3600", etag=ETAG),
     cached(send={"if-none-match": '"a", "b,c" , "v1"'}, expects=304))
case("client: any", origin(cache_control="max-age=3600"), cached(send={"if-none-match": "*"}, expects=304))
case("client: another one", origin(cache_control="max-age=3600", etag=ETAG), cached(send={"if-none-match": '"v2"'}))
case("client: the tag before the date", origin(cache_control="max-age=3600", etag=ETAG, last_modified=MODIFIED),
     cached(send={"if-none-match": '"v2"', "if-modified-since": MODIFIED}))
case("client: the stored date", origin(cache_control="max-age=3600", last_modified=MODIFIED), cached(send={"if-modified-since": MODIFIED}, expects=304))
case("client: a later date", origin(cache_control="max-age=3600", last_modified=MODIFIED), cached(send={"if-modified-since": date()}, expects=304))
case("client: an earlier date", origin(cache_control="max-age=3600", last_modified=MODIFIED),
     cached(send={"if-modified-since": "Tue, 31 Dec 2019 23:59:59 GMT"}))
case("client: no date", origin(cache_control="max-age=3600", last_modified=MODIFIED), cached(send={"if-modified-since": "then"}))

# Fields of what is kept: §3.1, §3.2.
case("fields: of the connection aren't kept", origin(cache_control="max-age=3600", connection="x-hop", x_hop="1", keep_alive="x", x_kept="1"),
     cached(get={"x-hop": None, "keep-alive": None, "x-kept": "1"}))
case("fields: of proxies aren't kept", origin(cache_control="max-age=3600", proxy_authenticate="x", proxy_authentication_info="x"),
     cached(get={"proxy-authenticate": None, "proxy-authentication-info": None}))
case("fields: others are", origin(cache_control="max-age=3600", content_security_policy="default-src 'self'", content_type="text/x", x_a="1"),
     cached(get={"content-security-policy": "default-src 'self'", "content-type": "text/x", "x-a": "1", "cache-control": "max-age=3600"}))
case("304: new fields replace the old ones",
     soon(origin(cache_control=STALE_SOON, etag=ETAG, x_a="1", x_b="1", content_type="text/x"),
          origin(validates="etag", expects=200, body=0, cache_control="max-age=3600", etag=ETAG, x_a="2", content_foo="3",
                 get={"x-a": "2", "x-b": "1", "content-foo": "3", "cache-control": "max-age=3600"}),
          cached(body=0, get={"x-a": "2", "x-b": "1", "content-foo": "3", "content-type": "text/x"})))
case("304: not those that describe the body",
     soon(origin(cache_control=STALE_SOON, etag=ETAG, content_type="text/x"),
          origin(validates="etag", expects=200, body=0, cache_control="max-age=3600", etag=ETAG, content_type="text/y"),
          cached(body=0, get={"content-type": "text/x", "content-length": "2"})))
case("304: without a word it is as fresh as before",
     soon(origin(cache_control="max-age=3", etag=ETAG), LATER,
          origin(validates="etag", expects=200, body=0, etag=ETAG), cached(body=0)))
case("304: that forbids to keep it", soon(origin(cache_control=STALE_SOON, etag=ETAG),
     origin(validates="etag", expects=200, body=0, cache_control="no-store", etag=ETAG),
     origin(validates="etag", expects=200, body=0, cache_control="no-store", etag=ETAG)))

# What changes something: §4.4.
for method in ("POST", "PUT", "DELETE", "PATCH", "M-SEARCH"):
    case(f"invalidation: {method}", kept(cache_control="max-age=3600"), origin(method=method, upload=b"x"), origin(cache_control="max-age=3600"))
    case(f"invalidation: {method} that fails", kept(cache_control="max-age=3600"), origin(method=method, upload=b"x", status=500), cached(body=0))
for method in ("OPTIONS",):
    case(f"invalidation: not {method}", kept(cache_control="max-age=3600"), origin(method=method), cached(body=0))
case("invalidation: a redirect too", kept(cache_control="max-age=3600"), origin(method="POST", upload=b"x", status=303, location="/x"), origin())
case("invalidation: all variants", origin(cache_control="max-age=3600", vary="x-v", send={"x-v": "1"}),
     origin(cache_control="max-age=3600", vary="x-v", send={"x-v": "2"}), origin(method="POST", upload=b"x"),
     origin(send={"x-v": "1"}, cache_control="no-store"), origin(send={"x-v": "2"}, cache_control="no-store"))

# Ranges out of whole responses: §3.3, §3.4, RFC 9110 §14. Parts aren't kept.
TEN = {"cache_control": "max-age=3600", "content": b"0123456789"}
for number, (text, part) in enumerate([("bytes=0-1", b"01"), ("bytes=2-", b"23456789"), ("bytes=-3", b"789"), ("bytes=8-20", b"89")]):
    case(f"range: {text}", origin(**TEN), cached(send={"range": text}, expects=206, body=part,
                                                  get={"content-range": lambda text: text.endswith("/10")}))
case("range: several", origin(**TEN), cached(send={"range": "bytes=0-1,3-4"}, body=b"0123456789"))
case("range: another unit", origin(**TEN), cached(send={"range": "lines=0-1"}, body=b"0123456789"))
case("range: behind the end", origin(**TEN), cached(send={"range": "bytes=10-"}, expects=416, body=b"", get={"content-range": "bytes */10"}))
case("range: if it is this one", origin(etag=ETAG, **TEN), cached(send={"range": "bytes=0-1", "if-range": ETAG}, expects=206, body=b"01"))
case("range: if it is another one", origin(etag=ETAG, **TEN), cached(send={"range": "bytes=0-1", "if-range": '"v2"'}, body=b"0123456789"))
case("range: if it is the date", origin(last_modified=MODIFIED, **TEN), cached(send={"range": "bytes=0-1", "if-range": MODIFIED}, expects=206, body=b"01"))
case("range: parts are not kept", origin(send={"range": "bytes=0-1"}, status=206, cache_control="max-age=3600", content_range="bytes 0-1/10", content=b"01", body=b"01"),
     origin(**TEN))
case("HEAD: answered from a GET", origin(**TEN), cached(method="HEAD", body=b"", get={"content-length": "10"}))
case("HEAD: keeps nothing", origin(method="HEAD", cache_control="max-age=3600", body=b""), origin(cache_control="max-age=3600"))
case("POST: keeps nothing", origin(method="POST", upload=b"x", cache_control="max-age=3600"), origin())

# Statuses, with a word: kept whatever they are, as far as they are final.
for status in (200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504, 599):
    content = b"" if status == 204 else None
    case(f"status: {status}", origin(status=status, cache_control="max-age=3600", content=content),
         cached(expects=status, says="HIT", body=b"" if status == 204 else 0))
    case(f"status: {status}, stale", soon(origin(status=status, cache_control=STALE_SOON, content=content), origin(body=1)))

# Stale, and used all the same: §4.2.4, RFC 5861. The origin's failure alone is no leave (the product).
case("stale: while it is asked anew",
     soon(origin(cache_control=STALE_SOON + ", stale-while-revalidate=3600"),
          Step("behind", cache_control="max-age=3600", says="UPDATING", body=0), cached(says="HIT", body=1)))
case("stale: while it is asked whether it holds",
     soon(origin(cache_control=STALE_SOON + ", stale-while-revalidate=3600", etag=ETAG),
          Step("behind", validates="etag", cache_control="max-age=3600", etag=ETAG, says="UPDATING", expects=200, body=0, sent={"if-none-match": ETAG}),
          cached(says="HIT", body=0)))
case("stale: while it is asked anew, whatever the client asked",
     soon(origin(cache_control=STALE_SOON + ", stale-while-revalidate=3600", content=b"0123456789"),
          Step("behind", send={"range": "bytes=0-1"}, cache_control="max-age=3600", says="UPDATING", expects=206, body=b"01",
               sent={"range": None}, content=b"abcdefghij"), cached(says="HIT", body=b"abcdefghij")))
case("stale: not longer than that", soon(origin(cache_control=STALE_SOON + ", stale-while-revalidate=1"), LATER, origin(body=1)))
case("stale: on an error", soon(origin(cache_control=STALE_SOON + ", stale-if-error=3600"), origin(status=503, says="STALE", expects=200, body=0)))
case("stale: on no answer",
     soon(origin(cache_control=STALE_SOON + ", stale-if-error=3600"), origin(disconnects=True, says="STALE", expects=200, body=0)))
case("stale: not on an error without leave", soon(origin(cache_control=STALE_SOON), origin(status=503, body=1)))
for directive in ("must-revalidate", "proxy-revalidate", "s-maxage=1"):
    case(f"stale: not on an error against {directive}",
         soon(origin(cache_control=f"{STALE_SOON}, stale-if-error=3600, {directive}"), origin(status=503, body=1)))
    case(f"stale: not while it is asked anew against {directive}",
         soon(origin(cache_control=f"{STALE_SOON}, stale-while-revalidate=3600, {directive}"), origin(body=1)))

# Vary: §4.1.
VARY = {"cache_control": "max-age=3600", "vary": "X-V"}
case("vary: the same", origin(send={"x-v": "1"}, **VARY), cached(send={"x-v": "1"}))
case("vary: another", origin(send={"x-v": "1"}, **VARY), origin(send={"x-v": "2"}, body=1, **VARY), cached(send={"x-v": "1"}, body=0))
case("vary: now without", origin(send={"x-v": "1"}, **VARY), origin(body=1))
case("vary: at first without", origin(**VARY), origin(send={"x-v": "1"}, body=1))
case("vary: two of them", origin(send={"x-v": "1"}, **VARY), origin(send={"x-v": "2"}, **VARY), cached(send={"x-v": "1"}, body=0), cached(send={"x-v": "2"}, body=1))
case("vary: what it doesn't name", origin(send={"x-v": "1", "x-w": "1"}, **VARY), cached(send={"x-v": "1", "x-w": "2"}))
case("vary: several names", origin(send={"x-v": "1", "x-w": "2"}, cache_control="max-age=3600", vary="X-W, x-v"),
     origin(send={"x-v": "2", "x-w": "1"}, body=1, cache_control="no-store"), cached(send={"x-v": "1", "x-w": "2"}, body=0))
case("vary: space around commas", origin(send={"x-v": "1, 2"}, **VARY), cached(send={"x-v": "1,2"}))
for number, vary in enumerate(["*", "*, *", ["*", "*"], ", *", "*, X-V", "X-V, *"]):
    case(f"vary: anything {number}", passed("BYPASS", cache_control="max-age=3600", vary=vary))
case("vary: the question keeps what it depends on",
     soon(origin(send={"x-v": "1"}, cache_control=STALE_SOON, vary="X-V", etag=ETAG),
          origin(send={"x-v": "1"}, validates="etag", cache_control="max-age=3600", etag=ETAG, expects=200, body=0,
                 sent={"if-none-match": ETAG, "x-v": "1"})))

# Whose it is: §3.5.
CREDENTIALS = {"authorization": "Bearer x"}
case("credentials: nothing is shared", origin(send=CREDENTIALS, cache_control="max-age=3600"), origin(send=CREDENTIALS, body=1))
case("credentials: nothing is shared with others", origin(send=CREDENTIALS, cache_control="max-age=3600"), origin(body=1))
for directive in ("public", "must-revalidate", "s-maxage=3600"):
    case(f"credentials: {directive}", origin(send=CREDENTIALS, cache_control=f"max-age=3600, {directive}"), cached(send=CREDENTIALS), cached())

# Others.
case("key: the query", origin(cache_control="max-age=3600", query="?a=1"), origin(query="?a=2", cache_control="max-age=3600", body=1), cached(query="?a=1", body=0))
case("interim: only what is final", origin(early=True, cache_control="max-age=3600", get={"x-early": None}, says="MISS"),
     cached(get={"x-early": None, "link": None}))

SHAPE = """format = 1
tenant = "t"
compatibility_date = "2026-08-01"
[workers.front]
product = "StoreWorker"
routes = ["{domain}/*"]
outbound = { allow = ["127.0.0.1:PORT"], private = true }
cache = { enabled = true, ttl = "0s", rules = [{ path = "/around/*", bypass = true }] }
"""


class Rules(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.origin = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Origin)
        cls.origin.asked, cls.origin.plan, cls.origin.lock = {}, {}, threading.Lock()
        cls.origin.handle_error = lambda *_: None
        threading.Thread(target=cls.origin.serve_forever, daemon=True).start()
        port = cls.origin.server_address[1]
        cls.project = Project(SHAPE.replace("PORT", str(port)), {"dev": "format = 1\n"})
        cls.node = cls.project.dev().start()
        cls.port = port

    @classmethod
    def tearDownClass(cls):
        cls.node.__exit__()
        cls.project.__exit__()
        cls.origin.shutdown()
        cls.origin.server_close()

    def test_in_front_of_workers(self):
        self.run_cases("through")

    def test_around_fetch(self):
        self.run_cases("around")

    def run_cases(self, kind):
        chosen = [(number, name, steps) for number, (name, (steps, kinds)) in enumerate(CASES.items()) if kind in kinds]
        places = {name: 0 for _, name, _ in chosen}
        failed = set()
        while True:
            mustWait = False
            for number, name, steps in chosen:
                while name not in failed and places[name] < len(steps):
                    index = places[name]
                    places[name] += 1
                    if steps[index] is LATER:
                        mustWait = True
                        break
                    with self.subTest(case=name, kind=kind, step=index):
                        failed.add(name)
                        self.make(steps, index, f"/{kind}-{number}", kind)
                        failed.discard(name)
            if not mustWait:
                break
            # What was fresh for a second isn't any more; what isn't to be stale yet has an hour.
            time.sleep(2.1)
        self.assertGreater(len(chosen), 150)

    def make(self, steps, index, path, kind):
        step = steps[index]
        made = [item for item in steps[:index + 1] if item is not LATER]
        number = len(made) - 1
        step.body = step.content if step.content is not None else b"v%d" % number
        asked = self.origin.asked.setdefault(path, [])
        with self.origin.lock:
            self.origin.plan[path] = step
            before = len(asked)
        answer = self.node.request(
            step.method, f"/{kind}/{self.port}{path}{step.query}", step.upload, dict(step.send))
        if step.came == "behind":
            wait_until(lambda: len(asked) > before, what="the question behind the client's back")
            # The new one takes the old one's place when it has come.
            wait_until(lambda: self.node.request("GET", f"/{kind}/{self.port}{path}", headers={}).header("cf-cache-status") == "HIT",
                       what="the new response")
        count = {"cache": 0, "origin": 1, "origin twice": 2, "behind": 1}[step.came]
        with self.origin.lock:
            # A connection that ends without an answer may have ended before the request came, so that is made again.
            came = min(len(asked) - before, 1) if step.disconnects else len(asked) - before
            self.assertEqual(came, count, f"requests of the origin; the client got {answer.status}, "
                             f"{dict(answer.headers.items())}")
            seen = asked[before][2] if count else {}
        expected = step.expects or step.status
        # A failed fetch is an error of the worker.
        self.assertEqual(answer.status, 500 if step.disconnects and not step.expects else expected)
        for name, value in step.sent.items():
            self.assertEqual(seen.get(name), value, f"{name} on its way to the origin")
        if step.says:
            self.assertEqual(answer.header("cf-cache-status"), step.says)
        for name, value in step.get.items():
            got = answer.header(name)
            if callable(value):
                self.assertTrue(got is not None and value(got), f"{name}: {got}")
            else:
                self.assertEqual(got, value, name)
        self.assertEqual(answer.body, self.expected_body(made, number, step, expected))

    def expected_body(self, made, number, step, status):
        if isinstance(step.body_of, bytes):
            return step.body_of
        if status in (204, 304) or step.method == "HEAD":
            return b""
        if step.body_of is not None:
            return made[step.body_of].body
        return step.body if step.came == "origin" else made[0].body


if __name__ == "__main__":
    unittest.main()
