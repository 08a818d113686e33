package import Wire

/// The message of a `d1Query` call: one transaction.
package struct D1Request: Equatable, Sendable {
    package struct Statement: Equatable, Sendable {
        package var sql: String
        package var parameters: [D1Value]

        package init(sql: String, parameters: [D1Value] = []) {
            self.sql = sql
            self.parameters = parameters
        }
    }

    /// How many rows the caller is going to look at.
    package enum Take: UInt8, Sendable {
        case allRows = 0
        case firstRow = 1
    }

    package enum Work: Equatable, Sendable {
        case query([Statement], Take)
        /// Lines of SQL without parameters.
        case exec(String)
    }

    package var work: Work
    /// `first-primary`, `first-unconstrained`, or the bookmark that the answer has to be as new as; `nil`
    /// outside of sessions.
    package var session: String?

    package init(_ work: Work, session: String? = nil) {
        self.work = work
        self.session = session
    }

    /// A message up to this size travels in the `open` frame, a larger one as the body behind it.
    package static let inlineBytesMax = 1 << 20
    /// One call in all. The largest batch of the limits table would be larger; this bounds the node's memory.
    package static let bytesMax = 32 << 20

    /// Statements of one call, and values of one statement (spec: d1, section 8). Of what is more, one is kept: enough
    /// for the error to be found, too little to fill the node's memory with a few bytes for each.
    package static let statementsMax = 10_000
    package static let parametersMax = 100

    /// The message, and the body when it is too large to be inline: the message is then one byte.
    package func encoded() -> (message: [UInt8], body: [UInt8]?) {
        var encoder = WireEncoder(capacity: 128)
        encoder.put(UInt8(0))
        encoder.put(session)
        switch work {
        case .query(let statements, let take):
            encoder.put(UInt8(1))
            encoder.put(take.rawValue)
            encoder.put(list: statements) { encoder, statement in
                encoder.put(statement.sql)
                encoder.put(list: statement.parameters) { $1.encode(into: &$0) }
            }
        case .exec(let text):
            encoder.put(UInt8(2))
            encoder.put(text)
        }
        guard encoder.bytes.count > Self.inlineBytesMax else { return (encoder.bytes, nil) }
        return ([1], encoder.bytes)
    }

    /// Whether the message only says that the request is in the body.
    package static func isInBody(_ message: [UInt8]) -> Bool { message == [1] }

    /// Reads what `encoded` wrote, the message or the body.
    package init(decoding bytes: [UInt8]) throws(WireError) {
        var decoder = WireDecoder(bytes)
        guard try decoder.takeUInt8() == 0 else { throw .invalidValue("D1 message form", offset: 0) }
        session = try decoder.takeOptional { decoder throws(WireError) in try decoder.takeString() }
        switch try decoder.takeUInt8() {
        case 1:
            guard let take = Take(rawValue: try decoder.takeUInt8()) else {
                throw .invalidValue("D1 row choice", offset: decoder.offset - 1)
            }
            let statements = try decoder.takeList(keeping: Self.statementsMax + 1) { decoder throws(WireError) in
                Statement(
                    sql: try decoder.takeString(),
                    parameters: try decoder.takeList(keeping: Self.parametersMax + 1) {
                        decoder throws(WireError) in
                        try D1Value(decoding: &decoder)
                    })
            }
            work = .query(statements, take)
        case 2: work = .exec(try decoder.takeString())
        default: throw .invalidValue("D1 work", offset: decoder.offset - 1)
        }
        try decoder.finish()
    }
}

extension WireDecoder {
    /// A list of which only the first elements are kept. The others are read as well, and must be as valid.
    fileprivate mutating func takeList<Element>(
        keeping countMax: Int, _ take: (inout WireDecoder) throws(WireError) -> Element
    ) throws(WireError) -> [Element] {
        let start = offset
        let count = Int(try takeUInt32())
        guard count <= remainingByteCount else { throw .invalidValue("list length", offset: start) }
        var list: [Element] = []
        list.reserveCapacity(min(count, countMax, 1024))
        for _ in 0..<count {
            let element = try take(&self)
            if list.count < countMax { list.append(element) }
        }
        return list
    }
}

extension D1Value {
    func encode(into encoder: inout WireEncoder) {
        switch self {
        case .null: encoder.put(UInt8(0))
        case .integer(let value):
            encoder.put(UInt8(1))
            encoder.put(value)
        case .real(let value) where value.isFinite:
            encoder.put(UInt8(2))
            encoder.put(value)
        case .real: encoder.put(UInt8(0))
        case .text(let value):
            encoder.put(UInt8(3))
            encoder.put(value)
        case .blob(let value):
            encoder.put(UInt8(4))
            encoder.put(value)
        }
    }

    init(decoding decoder: inout WireDecoder) throws(WireError) {
        switch try decoder.takeUInt8() {
        case 0: self = .null
        case 1: self = .integer(try decoder.takeInt64())
        case 2: self = .real(try decoder.takeDouble())
        case 3: self = .text(try decoder.takeString())
        case 4: self = .blob(try decoder.takeBytes())
        default: throw .invalidValue("D1 value", offset: decoder.offset - 1)
        }
    }
}
