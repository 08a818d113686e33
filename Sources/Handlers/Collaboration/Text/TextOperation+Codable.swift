/// As clients and the log write it: `[5,"new",-3,10]` keeps 5 units, inserts "new", deletes 3 and keeps 10.
extension TextOperation: Codable {
    /// More components than a person makes between two messages, and few enough that any two are transformed at once.
    package static let componentsMax = 20_000

    package init(from decoder: any Decoder) throws {
        self.init()
        var container = try decoder.unkeyedContainer()
        while !container.isAtEnd {
            guard components.count < Self.componentsMax else {
                throw DecodingError.dataCorruptedError(
                    in: container, debugDescription: "an operation has at most \(Self.componentsMax) components")
            }
            if let text = try? container.decode(String.self) {
                guard !text.isEmpty else {
                    throw DecodingError.dataCorruptedError(in: container, debugDescription: "an insertion is empty")
                }
                insert(text)
                continue
            }
            let count = try container.decode(Int.self)
            guard count != 0, abs(count.clamped) <= Self.lengthMax, baseLength <= Self.lengthMax else {
                throw DecodingError.dataCorruptedError(
                    in: container, debugDescription: "a length is not from 1 to \(Self.lengthMax)")
            }
            if count > 0 { retain(count) } else { delete(-count) }
        }
    }

    /// Keeps sums of lengths far from overflowing.
    private static let lengthMax = 1 << 30

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.unkeyedContainer()
        for component in components {
            switch component {
            case .retain(let count): try container.encode(count)
            case .insert(let units): try container.encode(String(decoding: units, as: UTF16.self))
            case .delete(let count): try container.encode(-count)
            }
        }
    }
}

extension Int {
    /// `abs` would trap for `Int.min`.
    fileprivate var clamped: Int { self == .min ? .max : self }
}
