internal import FoundationEssentials
internal import HTTP

/// What a form may upload: a document that was signed, and that the browser passes on
/// (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html).
struct PostPolicy {
    private enum Condition {
        case equals(field: String, value: String)
        case startsWith(field: String, prefix: String)
    }

    private let expiry: Int64
    private let conditions: [Condition]
    /// Of the file.
    let byteCounts: ClosedRange<Int64>?

    private static let malformed = S3Error("InvalidPolicyDocument", 400, "Invalid Policy: Invalid JSON.")

    init(base64: String) throws(S3Error) {
        guard let bytes = Base64.bytes(base64), let json = try? JSONDecoder().decode(Value.self, from: Data(bytes)),
            case .object(let members) = json, case .string(let expiration)? = members["expiration"],
            let time = InternetTimestamp.milliseconds(expiration), case .array(let items)? = members["conditions"]
        else { throw Self.malformed }
        expiry = time
        var conditions: [Condition] = []
        var range: ClosedRange<Int64>?
        for item in items {
            switch item {
            case .object(let members):
                for (name, value) in members {
                    guard let text = value.text else { throw Self.malformed }
                    conditions.append(.equals(field: name.lowercased(), value: text))
                }
            case .array(let parts):
                guard parts.count == 3, case .string(let word) = parts[0] else { throw Self.malformed }
                if word.lowercased() == "content-length-range" {
                    guard let low = parts[1].integer, let high = parts[2].integer, 0 <= low, low <= high else {
                        throw Self.malformed
                    }
                    range = low...high
                    continue
                }
                guard case .string(let field) = parts[1], field.hasPrefix("$"), let value = parts[2].text else {
                    throw Self.malformed
                }
                let name = field.dropFirst().lowercased()
                switch word.lowercased() {
                case "eq": conditions.append(.equals(field: name, value: value))
                case "starts-with": conditions.append(.startsWith(field: name, prefix: value))
                default: throw Self.malformed
                }
            case .string, .number, .other: throw Self.malformed
            }
        }
        self.conditions = conditions
        byteCounts = range
    }

    /// Fields that need no condition.
    private static let free: Set<String> = ["policy", "x-amz-signature", "file", "bucket"]

    /// - Parameter fields: By names in lower case, with the bucket among them.
    func check(_ fields: [String: String], now: Int64) throws(S3Error) {
        guard now < expiry else { throw Self.refusal("Policy expired.") }
        for condition in conditions {
            switch condition {
            case .equals(let field, let value):
                guard fields[field] == value else {
                    throw Self.refusal("Policy Condition failed: [\"eq\", \"$\(field)\", \"\(value)\"]")
                }
            case .startsWith(let field, let prefix):
                // Of a list, each.
                let values = field == "content-type" ? Self.list(fields[field]) : fields[field].map { [$0] } ?? [""]
                guard values.allSatisfy({ $0.utf8.starts(with: prefix.utf8) }) else {
                    throw Self.refusal("Policy Condition failed: [\"starts-with\", \"$\(field)\", \"\(prefix)\"]")
                }
            }
        }
        let named = Set(
            conditions.map { condition in
                switch condition {
                case .equals(let field, _), .startsWith(let field, _): field
                }
            })
        let extra = fields.keys.filter { !named.contains($0) && !Self.free.contains($0) && !$0.hasPrefix("x-ignore-") }
        guard extra.isEmpty else { throw Self.refusal("Extra input fields: \(extra.sorted().joined(separator: ", "))") }
    }

    private static func list(_ text: String?) -> [String] {
        (text ?? "").split(separator: ",", omittingEmptySubsequences: false).map { CanonicalRequest.collapse(String($0)) }
    }

    private static func refusal(_ reason: String) -> S3Error {
        S3Error("AccessDenied", 403, "Invalid according to Policy: \(reason)")
    }

    /// JSON as policies have it.
    private enum Value: Decodable {
        case string(String)
        case number(Int64)
        case array([Value])
        case object([String: Value])
        case other

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let text = try? container.decode(String.self) {
                self = .string(text)
            } else if let number = try? container.decode(Int64.self) {
                self = .number(number)
            } else if let items = try? container.decode([Value].self) {
                self = .array(items)
            } else if let members = try? container.decode([String: Value].self) {
                self = .object(members)
            } else {
                self = .other
            }
        }

        var text: String? {
            switch self {
            case .string(let text): text
            case .number(let number): "\(number)"
            case .array, .object, .other: nil
            }
        }

        var integer: Int64? {
            switch self {
            case .string(let text): Int64(text)
            case .number(let number): number
            case .array, .object, .other: nil
            }
        }
    }
}
