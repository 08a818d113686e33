/// The path of an operation below `/client/v4`: words, `{name}` for one segment, and `{name+}` at the end for all that
/// remain.
struct PathTemplate: Sendable {
    enum Segment: Equatable, Sendable {
        case word(String)
        case parameter(String)
        case rest(String)
    }

    let text: String
    let segments: [Segment]

    init(_ text: String) {
        self.text = text
        segments = text.split(separator: "/").map { part in
            guard part.hasPrefix("{"), part.hasSuffix("}") else { return .word(String(part)) }
            let name = part.dropFirst().dropLast()
            return name.hasSuffix("+") ? .rest(String(name.dropLast())) : .parameter(String(name))
        }
    }

    var names: [String] {
        segments.compactMap { segment in
            switch segment {
            case .word: nil
            case .parameter(let name), .rest(let name): name
            }
        }
    }

    /// The values of the parameters, as they were sent; `nil` when the path is another.
    ///
    /// - Parameter path: The segments of the raw path, each still percent-encoded: a `%2F` doesn't separate.
    func match(_ path: [Substring]) -> [String: String]? {
        var values: [String: String] = [:]
        for (index, segment) in segments.enumerated() {
            guard index < path.count else { return nil }
            switch segment {
            case .word(let word): guard path[index] == word else { return nil }
            case .parameter(let name):
                guard !path[index].isEmpty else { return nil }
                values[name] = String(path[index])
            case .rest(let name):
                let rest = path[index...].joined(separator: "/")
                guard !rest.isEmpty else { return nil }
                values[name] = rest
                return values
            }
        }
        return path.count == segments.count ? values : nil
    }

    /// How many segments are words: of several that match, the one with the most is meant.
    var wordCount: Int { segments.count { if case .word = $0 { true } else { false } } }
}
