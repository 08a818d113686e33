internal import HTTP

/// A path below `/client/v4`. What is put into it is one segment, or a part of one, whatever characters it has:
/// `"/accounts/\(id)/storage/kv/namespaces/\(namespace)/values/\(key)"`.
struct APIPath: ExpressibleByStringInterpolation, Sendable {
    let text: String

    init(stringLiteral text: String) { self.text = text }
    init(stringInterpolation: StringInterpolation) { text = stringInterpolation.text }

    struct StringInterpolation: StringInterpolationProtocol {
        var text = ""

        init(literalCapacity: Int, interpolationCount: Int) {}
        mutating func appendLiteral(_ literal: String) { text += literal }
        mutating func appendInterpolation(_ segment: String) { text += PercentEncoding.encodeComponent(segment) }
        mutating func appendInterpolation(_ number: some BinaryInteger) { text += String(number) }
        /// The beginning of a path.
        mutating func appendInterpolation(_ path: APIPath) { text += path.text }
    }

    /// With the parameters behind it that have a value.
    func target(_ query: [(name: String, value: String?)]) -> String {
        let pairs = query.compactMap { name, value in value.map { "\(name)=\(PercentEncoding.encodeComponent($0))" } }
        return text + (pairs.isEmpty ? "" : "?" + pairs.joined(separator: "&"))
    }
}
