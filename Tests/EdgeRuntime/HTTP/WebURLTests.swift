import HTTP
import Testing

@Suite struct `Web URL` {
    /// input, base, href; "-" for failure. Most are from
    /// https://github.com/web-platform-tests/wpt/tree/master/url.
    static let table: [(input: String, base: String?, href: String)] = [
        // Absolute, special.
        ("http://example.com", nil, "http://example.com/"),
        ("HTTP://EXAMPLE.com/A", nil, "http://example.com/A"),
        ("  http://example.com/\u{1F} ", nil, "http://example.com/"),
        ("ht\ntp://exam\tple.com/\r", nil, "http://example.com/"),
        ("http:example.com", nil, "http://example.com/"),
        ("http:/example.com", nil, "http://example.com/"),
        ("http:////example.com/", nil, "http://example.com/"),
        ("http:\\\\example.com\\a\\b", nil, "http://example.com/a/b"),
        ("https://example.com:443/", nil, "https://example.com/"),
        ("http://example.com:443/", nil, "http://example.com:443/"),
        ("http://example.com:80", nil, "http://example.com/"),
        ("ws://example.com:80/", nil, "ws://example.com/"),
        ("wss://example.com:443/", nil, "wss://example.com/"),
        ("ftp://example.com:21/", nil, "ftp://example.com/"),
        ("http://example.com:/", nil, "http://example.com/"),
        ("http://example.com:0/", nil, "http://example.com:0/"),
        ("http://example.com:00080/", nil, "http://example.com/"),
        ("http://example.com:65535/", nil, "http://example.com:65535/"),
        ("http://example.com:65536/", nil, "-"),
        ("http://example.com:b/", nil, "-"),
        ("http://example.com: 80/", nil, "-"),
        ("http://", nil, "-"), ("http:", nil, "-"), ("https://:80/", nil, "-"), ("http://?a", nil, "-"),
        ("http://#a", nil, "-"), ("http:///", nil, "-"), ("", nil, "-"), ("example.com", nil, "-"),
        ("/a", nil, "-"),
        ("//example.com/", nil, "-"), (":80", nil, "-"), ("1http://a/", nil, "-"), ("?a", nil, "-"),
        // Users.
        ("http://user:pass@foo:21/bar;par?b#c", nil, "http://user:pass@foo:21/bar;par?b#c"),
        ("http://user@/www.example.com", nil, "-"), ("http://@/a", nil, "-"), ("http://a:b@/", nil, "-"),
        ("http://@example.com", nil, "http://example.com/"),
        ("http://:@example.com", nil, "http://example.com/"),
        ("http://:p@example.com", nil, "http://:p@example.com/"),
        ("http://u:@example.com", nil, "http://u@example.com/"),
        ("http://a@b@c/", nil, "http://a%40b@c/"),
        ("http://a:b:c@d/", nil, "http://a:b%3Ac@d/"),
        ("http://foo:%20@d/", nil, "http://foo:%20@d/"),
        ("http://a[]|b@d/", nil, "http://a%5B%5D%7Cb@d/"),
        // Hosts.
        ("http://ex%41mple.com/", nil, "http://example.com/"),
        ("http://a b/", nil, "-"), ("http://a%20b/", nil, "-"), ("http://a%00b/", nil, "-"),
        ("http://a<b/", nil, "-"),
        ("http://a^b/", nil, "-"), ("http://a|b/", nil, "-"), ("http://a%b/", nil, "-"),
        ("http://%zz/", nil, "-"),
        ("http://a]b/", nil, "-"), ("http://%25/", nil, "-"), ("http://a\u{7F}b/", nil, "-"),
        ("http://a_b/", nil, "http://a_b/"), ("http://a~b!$&'()*+,;=/", nil, "http://a~b!$&'()*+,;=/"),
        ("http://example.com./", nil, "http://example.com./"), ("http://a..b/", nil, "http://a..b/"),
        ("http://./", nil, "http://./"), ("http://../", nil, "http://../"),
        ("http://xn--mnchen-3ya.de/", nil, "http://xn--mnchen-3ya.de/"),
        ("http://MÜNCHEN.de/", nil, "http://xn--mnchen-3ya.de/"),
        ("http://m%C3%BCnchen.de/", nil, "http://xn--mnchen-3ya.de/"),
        ("http://你好你好/", nil, "http://xn--6qqa088eba/"),
        ("http://例え.テスト/", nil, "http://xn--r8jz45g.xn--zckzah/"),
        ("http://faß.ExAmPlE/", nil, "http://xn--fa-hia.example/"),
        ("http://bücher.example/", nil, "http://xn--bcher-kva.example/"),
        ("http://GO\u{200B}\u{2060}\u{FEFF}goo.com", nil, "http://gogoo.com/"),
        ("http://www.foo。bar.com", nil, "http://www.foo.bar.com/"),
        ("http://Ｇｏ.com", nil, "http://go.com/"),
        ("http://％４１.com", nil, "-"), ("http://%ff/", nil, "-"), ("http://\u{AD}/", nil, "-"),
        // IPv4.
        ("http://127.0.0.1/", nil, "http://127.0.0.1/"), ("http://127.1/", nil, "http://127.0.0.1/"),
        ("http://2130706433/", nil, "http://127.0.0.1/"), ("http://0x7f.0.0.0x1/", nil, "http://127.0.0.1/"),
        ("http://0177.1/", nil, "http://127.0.0.1/"), ("http://0X7F.1/", nil, "http://127.0.0.1/"),
        ("http://1.2.3.4./", nil, "http://1.2.3.4/"), ("http://256/", nil, "http://0.0.1.0/"),
        ("http://0xffffffff/", nil, "http://255.255.255.255/"), ("http://4294967296/", nil, "-"),
        ("http://1.2.3/", nil, "http://1.2.0.3/"), ("http://1.2.65535/", nil, "http://1.2.255.255/"),
        ("http://1.2.65536/", nil, "-"), ("http://256.256.256.256/", nil, "-"),
        ("http://1.2.3.4.5/", nil, "-"),
        ("http://1.2.3.08/", nil, "-"), ("http://1.2.3.09./", nil, "-"), ("http://a.1/", nil, "-"),
        ("http://foo.0x4/", nil, "-"), ("http://0x/", nil, "http://0.0.0.0/"), ("http://1..2/", nil, "-"),
        ("http://foo.09/", nil, "-"), ("http://1.2.3.4x/", nil, "http://1.2.3.4x/"),
        ("http://０Ｘｃ０．０２５０．０１", nil, "http://192.168.0.1/"),
        ("http://%30%78%63%30%2e%30%32%35%30.01", nil, "http://192.168.0.1/"),
        // IPv6.
        ("http://[::1]/", nil, "http://[::1]/"), ("http://[::1]:8080/", nil, "http://[::1]:8080/"),
        ("http://[1:0:0:4:0:0:0:8]/", nil, "http://[1:0:0:4::8]/"),
        ("http://[2001:DB8::0:1]/", nil, "http://[2001:db8::1]/"),
        ("http://[::127.0.0.1]/", nil, "http://[::7f00:1]/"),
        ("http://[0:0:0:0:0:0:13.1.68.3]", nil, "http://[::d01:4403]/"),
        ("http://[1:2:0:0:5:0:0:0]", nil, "http://[1:2:0:0:5::]/"),
        ("http://[0:1:0:1:0:1:0:1]", nil, "http://[0:1:0:1:0:1:0:1]/"),
        ("http://[1:0::]", nil, "http://[1::]/"), ("http://[::]/", nil, "http://[::]/"),
        ("http://[0:1:2:3:4:5:6:7:8]", nil, "-"), ("http://[1::2::3]", nil, "-"), ("http://[:1]", nil, "-"),
        ("http://[1:]", nil, "-"), ("http://[]", nil, "-"), ("http://[::1", nil, "-"),
        ("http://[::1%25eth0]", nil, "-"),
        ("http://[::1.2.3]", nil, "-"), ("http://[::1.2.3.256]", nil, "-"), ("http://[::01.2.3.4]", nil, "-"),
        ("http://[::g]", nil, "-"), ("http://[::12345]", nil, "-"), ("http://[::.1.2.3]", nil, "-"),
        ("http://[::1]a/", nil, "-"),
        // Paths.
        ("http://a/b/../c", nil, "http://a/c"), ("http://a/b/./c", nil, "http://a/b/c"),
        ("http://a/..", nil, "http://a/"),
        ("http://a/../../b", nil, "http://a/b"), ("http://a/b/..", nil, "http://a/"),
        ("http://a/b/.", nil, "http://a/b/"),
        ("http://a/%2e/b", nil, "http://a/b"), ("http://a/b/%2E%2e/c", nil, "http://a/c"),
        ("http://a/b/.%2e", nil, "http://a/"),
        ("http://a/...", nil, "http://a/..."), ("http://a/.b", nil, "http://a/.b"),
        ("http://a/b..", nil, "http://a/b.."),
        ("http://a//b//../c", nil, "http://a//b/c"),
        ("http://a/b c\"<>`{}^", nil, "http://a/b%20c%22%3C%3E%60%7B%7D%5E"),
        ("http://a/%zz%41|é'", nil, "http://a/%zz%41|%C3%A9'"), ("http://a/b\\..\\c", nil, "http://a/c"),
        ("http://a/[b]:@!$&()*+,;=~", nil, "http://a/[b]:@!$&()*+,;=~"), ("http://a?b", nil, "http://a/?b"),
        ("http://a#b", nil, "http://a/#b"), ("http://a/?", nil, "http://a/?"),
        ("http://a/#", nil, "http://a/#"),
        ("http://a/b;c/../d", nil, "http://a/d"), ("http://a/%2F..", nil, "http://a/%2F.."),
        // Query and fragment.
        (
            "http://a/?b c\"<>'`{}|é#d \"<>`é{", nil,
            "http://a/?b%20c%22%3C%3E%27`{}|%C3%A9#d%20%22%3C%3E%60%C3%A9{"
        ),
        ("http://a/?b?c#d#e?f", nil, "http://a/?b?c#d#e?f"), ("foo://a/?b'", nil, "foo://a/?b'"),
        ("http://a/?\\", nil, "http://a/?\\"), ("http://a/?/../x", nil, "http://a/?/../x"),
        // Other schemes.
        ("mailto:x@y", nil, "mailto:x@y"), ("data:text/html,a b#c d", nil, "data:text/html,a b#c%20d"),
        ("javascript:alert(1)", nil, "javascript:alert(1)"), ("a:b", nil, "a:b"), ("a:", nil, "a:"),
        ("a:/b", nil, "a:/b"),
        ("a://b", nil, "a://b"), ("a://B:80/c/../d", nil, "a://B:80/d"), ("a:/../b", nil, "a:/b"),
        ("a:/.//b", nil, "a:/.//b"),
        ("a:..", nil, "a:.."), ("a://b c/", nil, "-"), ("a://é/", nil, "a://%C3%A9/"),
        ("a:///b", nil, "a:///b"),
        ("a://u:p@b/", nil, "a://u:p@b/"), ("a://:80/", nil, "-"), ("a://u@/", nil, "-"),
        ("a\\b:c", nil, "-"),
        ("urn:isbn:1?q#f", nil, "urn:isbn:1?q#f"), ("data:a  ?b", nil, "data:a %20?b"),
        ("a:/b\\c", nil, "a:/b\\c"),
        // Files.
        ("file:///a/../b", nil, "file:///b"), ("file://localhost/a", nil, "file:///a"),
        ("file://host/a", nil, "file://host/a"),
        ("file:a", nil, "file:///a"), ("file:c:\\b", nil, "file:///c:/b"),
        ("file:///C|/b/../..", nil, "file:///C:/"),
        ("file:", nil, "file:///"), ("file://C:/a", nil, "file:///C:/a"),
        // Relative.
        ("", "http://a/b?c#d", "http://a/b?c"), ("#x", "http://a/b?c#d", "http://a/b?c#x"),
        ("?x", "http://a/b?c#d", "http://a/b?x"),
        ("x", "http://a/b/c?d", "http://a/b/x"), ("../x", "http://a/b/c/d", "http://a/b/x"),
        ("./x", "http://a/b/c", "http://a/b/x"),
        ("/x", "http://a/b/c", "http://a/x"), ("//x/y", "https://a/b", "https://x/y"),
        ("\\x", "http://a/b", "http://a/x"),
        ("\\\\x\\y", "http://a/b", "http://x/y"), ("/\\x", "http://a/b", "http://x/"),
        ("http:x", "http://a/b/c", "http://a/b/x"),
        ("http:/x", "http://a/b/c", "http://a/x"), ("http:?x", "http://a/b/c", "http://a/b/c?x"),
        ("https:x", "http://a/b/c", "https://x/"),
        ("http://x", "http://a/b", "http://x/"), ("..", "http://a/b/c/d", "http://a/b/"),
        (".", "http://a/b/c", "http://a/b/"),
        ("x:y", "http://a/b", "x:y"), ("/x", "http://u:p@a:81/b", "http://u:p@a:81/x"),
        ("//", "http://a/b", "-"),
        ("///x", "http://a/b", "http://x/"), ("../../../x", "http://a/b", "http://a/x"),
        ("x?y/../z", "http://a/b", "http://a/x?y/../z"),
        ("x", "mailto:a", "-"), ("#x", "mailto:a", "mailto:a#x"), ("/x", "foo://a/b", "foo://a/x"),
        ("//x", "foo://a/b", "foo://x"),
        ("\\x", "foo://a/b", "foo://a/\\x"), ("x", "foo://a", "foo://a/x"), ("..", "foo:/a/b", "foo:/"),
        ("/", "file:///C:/a", "file:///C:/"),
        ("x", "file:///C:/a", "file:///C:/x"), ("//h/x", "file:///a", "file://h/x"),
        ("..", "file:///C:/", "file:///C:/"), ("D|", "file:///C:/a", "file:///D:"),
        ("D:", "file:///C:/a", "d:"),
        ("%2E%2e/x", "http://a/b/c/", "http://a/b/x"), (" x ", "http://a/b", "http://a/x"),
        ("http:#x", "http://a/b?q", "http://a/b?q#x"),
    ]

    @Test(arguments: table)
    func `parses as the standard says`(input: String, base: String?, href: String) throws {
        let url: WebURL?
        if let base {
            url = WebURL(input, base: try #require(WebURL(base)))
        } else {
            url = WebURL(input)
        }
        #expect(url?.href ?? "-" == href)
        // What is normalised stays as it is.
        if href != "-" { #expect(WebURL(href)?.href == href) }
    }

    @Test func `has the parts of its text`() throws {
        let url = try #require(WebURL("https://us%20er:pa:ss@Example.com:8443/a/b?c=d#e"))
        #expect(url.scheme == "https")
        #expect(url.username == "us%20er")
        #expect(url.password == "pa%3Ass")
        #expect(url.hostname == "example.com")
        #expect(url.host == "example.com:8443")
        #expect(url.port == 8443)
        #expect(url.path == "/a/b")
        #expect(url.query == "c=d")
        #expect(url.fragment == "e")
        #expect(url.origin == "https://example.com:8443")
        #expect(url.effectivePort == 8443)
    }

    @Test func `leaves out what is not there`() throws {
        let url = try #require(WebURL("http://a"))
        #expect(
            url.username == "" && url.password == "" && url.port == nil && url.query == nil
                && url.fragment == nil)
        #expect(url.path == "/" && url.host == "a" && url.effectivePort == 80)
        let empty = try #require(WebURL("http://a/?#"))
        #expect(empty.query == "" && empty.fragment == "")
        let mail = try #require(WebURL("mailto:a@b"))
        #expect(mail.host == "" && mail.path == "a@b" && mail.origin == "null" && mail.effectivePort == nil)
        #expect(try #require(WebURL("http://:p@h/")).password == "p")
    }

    @Test func `measures normalised URLs as it would parse them`() throws {
        for (_, _, href) in Self.table where href != "-" {
            let short = try #require(WebURL(href))
            // A tab, which is dropped, takes the long way.
            let long = try #require(WebURL("\t" + href))
            #expect(short == long)
            #expect(short.hostname == long.hostname && short.path == long.path && short.query == long.query)
            #expect(short.port == long.port && short.fragment == long.fragment && short.host == long.host)
            #expect(short.username == long.username && short.password == long.password)
        }
    }

    @Test func `can be changed`() throws {
        var url = try #require(WebURL("http://a:81/b?c#d"))
        url.path = "x y/../?z#"
        #expect(url.href == "http://a:81/%3Fz%23?c#d")
        url.path = "//evil/.."
        #expect(url.href == "http://a:81//?c#d")
        #expect(url.host == "a:81")
        url.path = ""
        url.query = "a b#'"
        #expect(url.href == "http://a:81/?a%20b%23%27#d")
        url.query = nil
        url.fragment = "x y"
        #expect(url.href == "http://a:81/#x%20y")
        url.fragment = nil
        url.searchParameters.append("k", "v w&")
        url.searchParameters.append("k", "é")
        #expect(url.href == "http://a:81/?k=v+w%26&k=%C3%A9")
        url.searchParameters.delete("k")
        #expect(url.href == "http://a:81/")
    }

    @Test(arguments: UInt64(1)...4)
    func `is a fixed point of parsing`(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let alphabet = Array("http:/\\?#@[]:.%2eE0aZ x1&=é\t\u{0}|^<ü。".unicodeScalars)
        let base = try #require(WebURL("http://a/b/c?d"))
        for round in 0..<2000 {
            var text = Bool.random(using: &random) ? "http://" : ""
            for _ in 0..<Int.random(in: 0...14, using: &random) {
                text.unicodeScalars.append(alphabet.randomElement(using: &random) ?? "a")
            }
            for url in [WebURL(text), WebURL(text, base: base)] {
                guard let url else { continue }
                let again = try #require(
                    WebURL(url.href), "seed \(seed), round \(round): \(text.debugDescription)")
                try #require(again == url, "seed \(seed), round \(round): \(text.debugDescription)")
                try #require(again.path == url.path && again.host == url.host, "seed \(seed), round \(round)")
                try #require(
                    url.href.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F }, "seed \(seed), round \(round)")
            }
        }
    }
}

@Suite struct `URL search parameters` {
    @Test(arguments: [
        ("", ""), ("?a=b", "a=b"), ("a=b&c=d", "a=b&c=d"), ("a", "a="), ("=a", "=a"), ("&&a&&", "a="),
        ("a=b=c", "a=b%3Dc"),
        ("a+b=c%20d", "a+b=c+d"), ("%C3%A9=%zz%", "%C3%A9=%25zz%25"), ("a=%ff", "a=%EF%BF%BD"),
        ("??a", "%3Fa="),
        ("a=*-._~!'()", "a=*-._%7E%21%27%28%29"), ("a=\u{1F600}", "a=%F0%9F%98%80"), ("a=%2B", "a=%2B"),
    ])
    func `reads and writes the form encoding`(query: String, written: String) {
        #expect(URLSearchParameters(query).description == written)
    }

    @Test func `keeps several values of a name`() {
        var parameters = URLSearchParameters("a=1&b=2&a=3")
        #expect(parameters.get("a") == "1")
        #expect(parameters.getAll("a") == ["1", "3"])
        #expect(parameters["c"] == nil)
        parameters.set("a", "4")
        #expect(parameters.description == "a=4&b=2")
        parameters.set("c", "5")
        parameters.append("b", "6")
        parameters.delete("b", value: "2")
        #expect(parameters.description == "a=4&c=5&b=6")
        parameters.delete("a")
        #expect(!parameters.has("a"))
        #expect(parameters.map { "\($0.name)\($0.value)" } == ["c5", "b6"])
    }

    @Test func `sorts by UTF-16 code units and stably`() {
        var parameters = URLSearchParameters("z=b&a=b&z=a&a=a&\u{FB03}=1&\u{1F308}=2")
        parameters.sort()
        #expect(parameters.map { $0.name + $0.value } == ["ab", "aa", "zb", "za", "\u{1F308}2", "\u{FB03}1"])
    }

    @Test func `encodes one component`() {
        #expect(PercentEncoding.encodeComponent("a b/ü?&=+'!") == "a%20b%2F%C3%BC%3F%26%3D%2B'!")
        #expect(PercentEncoding.decode("a%20b%2F%C3%BC%zz+%4") == "a b/ü%zz+%4")
    }
}
