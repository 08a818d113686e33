/// The shape of a JSON value: checked when it arrives, and written into the OpenAPI document. One of both can't be right
/// while the other is wrong.
package indirect enum APISchema: Sendable {
    case any
    case bool
    case integer(ClosedRange<Int64> = Int64.min...Int64.max)
    case number
    /// Lengths are those of the UTF-8.
    case string(ClosedRange<Int> = 0...Int.max)
    /// One of these texts.
    case choice([String])
    case array(APISchema, ClosedRange<Int> = 0...Int.max)
    case object([Field])
    /// Names that the caller chooses.
    case map(APISchema)
    case nullable(APISchema)
    case either([APISchema])

    package struct Field: Sendable {
        package let name: String
        package let schema: APISchema
        package let isRequired: Bool

        package static func required(_ name: String, _ schema: APISchema) -> Field {
            Field(name: name, schema: schema, isRequired: true)
        }

        package static func optional(_ name: String, _ schema: APISchema) -> Field {
            Field(name: name, schema: schema, isRequired: false)
        }
    }

    package struct Mismatch: Error, Equatable, Sendable {
        /// RFC 6901.
        package let pointer: String
        package let expected: String
    }

    /// Unknown members of objects pass: clients of later versions send some.
    package func check(_ value: JSON, at pointer: String = "") throws(Mismatch) {
        func fail(_ expected: String) throws(Mismatch) -> Never { throw Mismatch(pointer: pointer, expected: expected) }
        switch self {
        case .any: return
        case .bool: guard value.bool != nil else { try fail("true or false") }
        case .integer(let range):
            guard let integer = value.integer, range.contains(integer) else { try fail(Self.text(range, "an integer")) }
        case .number: guard value.number != nil else { try fail("a number") }
        case .string(let range):
            guard let text = value.text else { try fail("a string") }
            guard range.contains(text.utf8.count) else {
                try fail("a string of \(range.lowerBound) to \(range.upperBound) bytes")
            }
        case .choice(let choices):
            guard let text = value.text, choices.contains(text) else {
                try fail("one of " + choices.map { "\"\($0)\"" }.joined(separator: ", "))
            }
        case .array(let schema, let range):
            guard let items = value.items else { try fail("an array") }
            guard range.contains(items.count) else { try fail("\(range.lowerBound) to \(range.upperBound) items") }
            for (index, item) in items.enumerated() { try schema.check(item, at: "\(pointer)/\(index)") }
        case .object(let fields):
            guard value.members != nil else { try fail("an object") }
            for field in fields {
                let place = "\(pointer)/\(Self.escape(field.name))"
                if let member = value[field.name] {
                    try field.schema.check(member, at: place)
                } else if field.isRequired {
                    throw Mismatch(pointer: place, expected: "a value")
                }
            }
        case .map(let schema):
            guard let members = value.members else { try fail("an object") }
            for member in members { try schema.check(member.value, at: "\(pointer)/\(Self.escape(member.name))") }
        case .nullable(let schema): if value != .null { try schema.check(value, at: pointer) }
        case .either(let schemas):
            for schema in schemas where (try? schema.check(value, at: pointer)) != nil { return }
            try fail("one of \(schemas.count) shapes")
        }
    }

    /// What a request means that has no body: `null` or an object without members, if either will do; empty when it needs one.
    var ofNothing: [UInt8] {
        if case .nullable = self { return Array("null".utf8) }
        let isObject = (try? check(.object([JSON.Member]()))) != nil && (try? check("")) == nil
        return isObject ? Array("{}".utf8) : []
    }

    private static func text(_ range: ClosedRange<Int64>, _ what: String) -> String {
        range == Int64.min...Int64.max ? what : "\(what) from \(range.lowerBound) to \(range.upperBound)"
    }

    private static func escape(_ name: String) -> String {
        name.split(separator: "~", omittingEmptySubsequences: false).joined(separator: "~0")
            .split(separator: "/", omittingEmptySubsequences: false).joined(separator: "~1")
    }

    /// As JSON Schema 2020-12, which OpenAPI 3.1 uses.
    var json: JSON {
        switch self {
        case .any: .object([])
        case .bool: .object(["type": "boolean"])
        case .integer(let range):
            .object([
                "type": "integer", "minimum": range.lowerBound == .min ? nil : .integer(range.lowerBound),
                "maximum": range.upperBound == .max ? nil : .integer(range.upperBound),
            ])
        case .number: .object(["type": "number"])
        // The schema counts code points; with a limit of bytes only the lower bound of one agrees for all texts.
        case .string(let range):
            .object([
                "type": "string", "minLength": range.lowerBound == 1 ? 1 : nil,
                "maxLength": range.upperBound == .max ? nil : .integer(Int64(range.upperBound)),
            ])
        case .choice(let choices): .object(["type": "string", "enum": .strings(choices)])
        case .array(let schema, let range):
            .object([
                "type": "array", "items": schema.json,
                "minItems": range.lowerBound == 0 ? nil : .integer(Int64(range.lowerBound)),
                "maxItems": range.upperBound == .max ? nil : .integer(Int64(range.upperBound)),
            ])
        case .object(let fields):
            .object([
                "type": "object",
                "properties": .object(fields.map { JSON.Member(name: $0.name, value: $0.schema.json) }),
                "required": fields.contains { $0.isRequired }
                    ? .strings(fields.filter(\.isRequired).map(\.name)) : nil,
            ])
        case .map(let schema): .object(["type": "object", "additionalProperties": schema.json])
        case .nullable(let schema): .object(["anyOf": .array([schema.json, .object(["type": "null"])])])
        case .either(let schemas): .object(["anyOf": .array(schemas.map(\.json))])
        }
    }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral {
    package init(stringLiteral text: String) { self = .string(text) }
    package init(integerLiteral value: Int64) { self = .integer(value) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
}
