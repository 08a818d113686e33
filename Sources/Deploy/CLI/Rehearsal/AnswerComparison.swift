internal import ControlPlane
internal import OpenSSL

/// What one of two releases answered.
struct ReplayedAnswer: Sendable {
    var status = 0
    /// Those that are compared.
    var headers: [String: String] = [:]
    var byteCount: Int64 = 0
    var digest: [UInt8] = []
    /// `nil`: none, or too long to be looked into.
    var json: JSON?
    /// Why there is no answer.
    var failure: String?
    var duration = Duration.zero

    static let comparedHeaders = [
        "content-type", "location", "cache-control", "content-language", "etag", "vary", "www-authenticate",
    ]
}

/// Says what is different between two answers, in a few words for each difference.
struct AnswerComparison {
    /// Headers that don't count, in lower case.
    var ignoredHeaders: Set<String> = []
    /// Members of JSON that don't count, as `/items/*/updatedAt`: a `*` stands for any one step.
    var ignoredPointers: [[Substring]] = []

    static let differencesMax = 10
    private static let textMax = 80

    func differences(_ old: ReplayedAnswer, _ new: ReplayedAnswer) -> [String] {
        if old.failure != nil || new.failure != nil {
            return old.failure == new.failure ? [] : ["\(old.failure ?? "answered") → \(new.failure ?? "answered")"]
        }
        var found: [String] = []
        if old.status != new.status { found.append("status \(old.status) → \(new.status)") }
        for name in ReplayedAnswer.comparedHeaders
        where !ignoredHeaders.contains(name) && old.headers[name] != new.headers[name] {
            found.append("\(name): \(Self.shown(old.headers[name])) → \(Self.shown(new.headers[name]))")
        }
        guard old.digest != new.digest else { return found }
        guard let before = old.json, let after = new.json else {
            let sizes =
                old.byteCount == new.byteCount ? "\(old.byteCount) other bytes" : "\(old.byteCount) → \(new.byteCount) bytes"
            return found + ["body: \(sizes)"]
        }
        var changes: [String] = []
        compare(before, after, at: [], &changes)
        return found + changes
    }

    private static func shown(_ text: String?) -> String { text.map { String($0.prefix(textMax)) } ?? "-" }

    private static func shown(_ json: JSON?) -> String {
        json.map { String(decoding: $0.bytes.prefix(textMax), as: UTF8.self) } ?? "nothing"
    }

    private func compare(_ old: JSON?, _ new: JSON?, at path: [Substring], _ found: inout [String]) {
        guard found.count < Self.differencesMax, old != new, !isIgnored(path) else { return }
        if let a = old?.members, let b = new?.members {
            let (a, b) = (Self.byName(a), Self.byName(b))
            for name in Set(a.keys).union(b.keys).sorted() { compare(a[name], b[name], at: path + [name[...]], &found) }
        } else if let a = old?.items, let b = new?.items {
            for index in 0..<max(a.count, b.count) {
                compare(
                    index < a.count ? a[index] : nil, index < b.count ? b[index] : nil, at: path + ["\(index)"[...]], &found)
            }
        } else {
            found.append("/\(path.joined(separator: "/")): \(Self.shown(old)) → \(Self.shown(new))")
        }
    }

    private static func byName(_ members: [JSON.Member]) -> [String: JSON] {
        Dictionary(members.map { ($0.name, $0.value) }) { _, last in last }
    }

    private func isIgnored(_ path: [Substring]) -> Bool {
        ignoredPointers.contains { pointer in
            pointer.count == path.count && zip(pointer, path).allSatisfy { $0 == "*" || $0 == $1 }
        }
    }
}
