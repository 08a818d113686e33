import Configuration
import Foundation
import Testing

/// The public cases of toml-lang/toml-test, read from `shared/data/toml-test` beside the checkout, or below
/// the folder that EDGE_SHARED names.
enum TOMLSuite {
    static let folder: String? = {
        var candidates: [String] = []
        if let shared = ProcessInfo.processInfo.environment["EDGE_SHARED"] {
            candidates.append(shared + "/data/toml-test")
        }
        for start in [#filePath, FileManager.default.currentDirectoryPath + "/."] {
            var parts = start.split(separator: "/").dropLast()
            while true {
                candidates.append("/" + (parts + ["shared", "data", "toml-test"]).joined(separator: "/"))
                guard !parts.isEmpty else { break }
                parts.removeLast()
            }
        }
        return candidates.first { FileManager.default.fileExists(atPath: $0 + "/valid") }
    }()

    static func cases(_ kind: String) -> [String] {
        guard let folder, let files = FileManager.default.enumerator(atPath: "\(folder)/\(kind)") else {
            return []
        }
        return files.compactMap { $0 as? String }.filter { $0.hasSuffix(".toml") }.sorted()
    }

    static func source(_ kind: String, _ name: String) throws -> SourceText {
        let path = try #require(folder) + "/\(kind)/\(name)"
        return SourceText(name: name, bytes: Array(try Data(contentsOf: URL(fileURLWithPath: path))))
    }
}

/// The JSON in which toml-test writes what it expects.
private indirect enum Expected: Decodable, Equatable {
    case scalar(type: String, value: String)
    case list([Expected])
    case table([String: Expected])

    init(from decoder: any Decoder) throws {
        if let list = try? [Expected](from: decoder) {
            self = .list(list)
        } else if let scalar = try? [String: String](from: decoder), scalar.count == 2,
            let type = scalar["type"], let value = scalar["value"]
        {
            self = .scalar(type: type, value: value)
        } else {
            self = .table(try [String: Expected](from: decoder))
        }
    }

    func matches(_ value: DocumentValue) -> Bool {
        switch (self, value.content) {
        case (.list(let expected), .array(let elements)):
            expected.count == elements.count && zip(expected, elements).allSatisfy { $0.matches($1) }
        case (.table(let expected), .table(let table)):
            expected.count == table.count
                && expected.allSatisfy { key, expected in table[key].map(expected.matches) ?? false }
        case (.scalar("string", let expected), .string(let text)): expected.utf8.elementsEqual(text.utf8)
        case (.scalar("integer", let expected), .integer(let number)): Int64(expected) == number
        case (.scalar("bool", let expected), .boolean(let value)): expected == (value ? "true" : "false")
        case (.scalar("float", let expected), .float(let number)):
            number.isNaN ? expected.hasSuffix("nan") : Double(expected) == number
        case (.scalar(let type, let expected), .date(let date)):
            type == Self.type(of: date) && Self.normal(expected) == date.description
        default: false
        }
    }

    private static func type(of date: DocumentDate) -> String {
        switch (date.day != nil, date.time != nil, date.offsetMinutes != nil) {
        case (true, true, true): "datetime"
        case (true, true, false): "datetime-local"
        case (true, false, _): "date-local"
        default: "time-local"
        }
    }

    /// Expectations differ in case and in trailing zeros of fractions.
    private static func normal(_ text: String) -> String {
        var text = text.uppercased().replacingOccurrences(of: " ", with: "T")
        if let point = text.firstIndex(of: ".") {
            let digits = text[text.index(after: point)...].prefix { $0.isNumber }
            var kept = String(digits)
            while kept.last == "0" { kept.removeLast() }
            text.replaceSubrange(point..<digits.endIndex, with: kept.isEmpty ? "" : "." + kept)
        }
        return text.replacingOccurrences(of: "+00:00", with: "Z")
    }
}

/// Probe 25 of the configuration's specification.
@Suite(
    .enabled(if: TOMLSuite.folder != nil, "shared/data/toml-test is not beside the checkout; set EDGE_SHARED")
)
struct `TOML 1.0.0 public suite` {
    @Test(arguments: TOMLSuite.cases("valid"))
    func `reads every valid document`(_ name: String) throws {
        let json = try TOMLSuite.source("valid", name.replacingOccurrences(of: ".toml", with: ".json"))
        let expected = try JSONDecoder().decode(Expected.self, from: Data(json.bytes))
        let source = try TOMLSuite.source("valid", name)
        let document = try TOMLReader.read(source)
        let value = DocumentValue(.table(document), at: SourcePlace(source, 0..<0))
        #expect(expected.matches(value), "got \(value.tomlText)")
        try expectExactPlaces(of: document)

        // The same expectations, through our own JSON reader.
        let reread = try JSONReader.read(json)
        #expect(try JSONDecoder().decode(Expected.self, from: Data((reread.json ?? "").utf8)) == expected)
    }

    @Test(arguments: TOMLSuite.cases("invalid"))
    func `refuses every invalid document`(_ name: String) throws {
        let source = try TOMLSuite.source("invalid", name)
        #expect(throws: SyntaxError.self) { try TOMLReader.read(source) }
    }

    @Test func `has its cases`() {
        #expect(TOMLSuite.cases("valid").count >= 200)
        #expect(TOMLSuite.cases("invalid").count >= 450)
    }

    /// What stands at a key's place is the key, and a value's text reads as the same value.
    private func expectExactPlaces(of table: DocumentTable) throws {
        for entry in table.entries {
            let keyText = entry.keyLocation.text
            let reread = try TOMLReader.read(SourceText(name: "key", text: keyText + " = 1"))
            #expect(reread.keys == [entry.key], "the place of \(entry.key) holds \(keyText)")
            switch entry.value.content {
            case .table(let inner): try expectExactPlaces(of: inner)
            case .array(let elements) where elements.contains { $0.table != nil }:
                for element in elements { if let inner = element.table { try expectExactPlaces(of: inner) } }
            default:
                let value = try TOMLReader.readValue(
                    SourceText(name: "value", text: entry.value.location.text))
                #expect(value.tomlText == entry.value.tomlText)
            }
        }
    }
}
