import Foundation
import Testing

@testable import Configuration

@Suite struct `Diagnostics of a configuration` {
    private let source = SourceText(name: "environments/staging.toml", text: "[a]\n\tmax = \"4\" # ä\n")

    @Test func `renders place, path, line and caret`() {
        let diagnostic = Diagnostic(
            .error, .wrongType, at: SourcePlace(source, 11..<14), path: "workers.auth-service.isolates.max",
            "expected integer 1…256, got \"4\"", fix: "max = 4")
        #expect(
            diagnostic.rendered == """
                environments/staging.toml:2:8: error: workers.auth-service.isolates.max: expected integer 1…256, got "4"
                    2 | \tmax = "4" # ä
                      | \t      ^^^
                  fix: max = 4
                """)
    }

    @Test func `is one JSON object`() throws {
        let diagnostic = Diagnostic(
            .warning, .ignored, at: SourcePlace(source, 11..<14), path: "a.max", "say \"no\"\n")
        let object = try #require(
            try JSONSerialization.jsonObject(with: Data([diagnostic].json.utf8)) as? [[String: Any]]
        ).first
        #expect(object?["file"] as? String == "environments/staging.toml")
        #expect(object?["line"] as? Int == 2)
        #expect(object?["column"] as? Int == 8)
        #expect(object?["length"] as? Int == 3)
        #expect(object?["path"] as? String == "a.max")
        #expect(object?["severity"] as? String == "warning")
        #expect(object?["code"] as? String == "ignored")
        #expect(object?["message"] as? String == "say \"no\"\n")
        #expect(object?["fix"] is NSNull)
    }

    @Test func `never shows a line of a confidential text`() {
        let secret = SourceText(name: ".dev.vars", text: "KEY hunter2\n", isConfidential: true)
        let diagnostic = Diagnostic(.error, .syntax, at: SourcePlace(secret, 0..<3), "expected \"=\"")
        #expect(!diagnostic.rendered.contains("hunter2"))
    }

    @Test func `a collector sorts, keeps fifty, and never drops an error for a warning`() {
        let text = SourceText(name: "x", text: String(repeating: "a\n", count: 200))
        let collector = DiagnosticCollector()
        for index in 0..<60 {
            collector.warning(.ignored, at: SourcePlace(text, (index * 2)..<(index * 2 + 1)), path: "", "w")
        }
        collector.error(.syntax, at: SourcePlace(text, 300..<301), path: "", "e")
        #expect(collector.sorted.count == 50)
        #expect(collector.sorted.last?.message == "e")
        #expect(
            collector.sorted.map { $0.location?.line ?? 0 }
                == collector.sorted.map { $0.location?.line ?? 0 }.sorted())
    }

    @Test(
        arguments: [
            ("auth-servce", "auth-service"), ("SESSION", "SESSIONS"), ("sesions", "SESSIONS"),
            ("hsot", "host"),
            ("xyz", nil), ("a", nil), ("", nil), ("authservices", "auth-service"),
        ] as [(String, String?)])
    func `guesses the nearest name`(_ name: String, _ nearest: String?) {
        #expect(NearestName.of(name, among: ["auth-service", "SESSIONS", "host", "b"]) == nearest)
    }
}
