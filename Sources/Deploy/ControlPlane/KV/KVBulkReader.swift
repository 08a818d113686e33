internal import FoundationEssentials
internal import Interfaces
internal import StoresKV

/// Reads the body of a bulk write while it arrives: `[{key, value, base64?, expiration?, expiration_ttl?, metadata?}]` (spec
/// kv.md §6). It holds the pairs themselves and nothing of the text around them; of a value that is too long, only how long
/// it is.
struct KVBulkReader {
    /// The body as a whole is no bulk write: nothing of it is written.
    struct Malformed: Error, Equatable {
        let reason: String
        /// The product's.
        var code = 10012
    }

    /// A pair that can't be written, found before the store is asked.
    struct Refused: Equatable, Sendable {
        let key: [UInt8]
        let text: String
    }

    private(set) var writes: [KVWrite] = []
    private(set) var refused: [Refused] = []

    private enum Member: String { case key, value, base64, expiration, expirationTTL = "expiration_ttl", metadata, other }

    /// What is there of the pair that is being read.
    private struct Pair {
        var key: [UInt8]?
        var value: [UInt8]?
        var valueByteCount = 0
        var isBase64 = false
        var expiration: Int64?
        var expirationTTL: Int64?
        var metadata = JSONCompactor()
        var hasMetadata = false
    }

    private enum Place: Equatable { case start, inArray, inPair, inMember(Member), end }

    private var events = JSONEvents()
    private var place = Place.start
    private var pair = Pair()
    /// Containers that are open inside a member.
    private var depth = 0

    /// Text that base64 makes of the largest value.
    private static let keptByteCountMax = (KVLimits.valueByteCountMax + 2) / 3 * 4
    private static let keyTextByteCountMax = 64 << 10

    mutating func feed(_ bytes: [UInt8]) throws(Malformed) {
        events.feed(bytes)
        try readAll()
    }

    mutating func finish() throws(Malformed) {
        events.finish()
        try readAll()
        guard place == .end else { throw Malformed(reason: "the body must be an array of key-value pairs") }
    }

    private mutating func readAll() throws(Malformed) {
        while true {
            let event: JSONEvents.Event
            do throws(JSONEvents.Mistake) { event = try events.next() } catch {
                throw Malformed(reason: "the body is no JSON: \(error)")
            }
            switch event {
            case .needsBytes, .ended: return
            default: try take(event)
            }
        }
    }

    private mutating func take(_ event: JSONEvents.Event) throws(Malformed) {
        switch place {
        case .start:
            guard event == .beginArray else { throw Malformed(reason: "the body must be an array of key-value pairs") }
            place = .inArray
        case .inArray:
            if event == .endArray {
                place = .end
                return
            }
            guard event == .beginObject else { throw malformed("must be an object") }
            pair = Pair()
            place = .inPair
        case .inPair:
            if case .name(let name) = event {
                place = .inMember(Member(rawValue: String(decoding: name, as: UTF8.self)) ?? .other)
            } else {
                try endPair()
                place = .inArray
            }
        case .inMember(let member):
            if try take(event, of: member) { place = .inPair }
        case .end: break
        }
    }

    /// - Returns: whether the member's value is complete.
    private mutating func take(_ event: JSONEvents.Event, of member: Member) throws(Malformed) -> Bool {
        switch (member, event) {
        case (.key, .text(let piece, let isLast)):
            pair.key = (pair.key ?? []) + piece
            guard pair.key?.count ?? 0 <= Self.keyTextByteCountMax else { throw malformed("has a key that is far too long") }
            return isLast
        case (.value, .text(let piece, let isLast)):
            take(valuePiece: piece)
            return isLast
        case (.base64, .bool(let bool)): pair.isBase64 = bool
        case (.expiration, .number(let bytes)): pair.expiration = Self.integer(bytes)
        case (.expirationTTL, .number(let bytes)): pair.expirationTTL = Self.integer(bytes)
        case (.base64, .null), (.expiration, .null), (.expirationTTL, .null): break
        case (.metadata, .null) where depth == 0: break
        case (.metadata, _):
            pair.hasMetadata = true
            pair.metadata.take(event)
            return isComplete(event)
        case (.other, _): return isComplete(event)
        case (.key, _), (.value, _): throw malformed("must have a string as its \(member.rawValue)")
        case (.base64, _): throw malformed("must have true or false as base64")
        case (.expiration, _), (.expirationTTL, _): throw malformed("must have a number as its \(member.rawValue)")
        }
        return true
    }

    private mutating func take(valuePiece piece: [UInt8]) {
        pair.valueByteCount += piece.count
        if pair.value == nil {
            pair.value = piece
        } else if pair.valueByteCount <= Self.keptByteCountMax {
            pair.value?.append(contentsOf: piece)
        }
        if pair.valueByteCount > Self.keptByteCountMax { pair.value = [] }
    }

    private mutating func isComplete(_ event: JSONEvents.Event) -> Bool {
        switch event {
        case .beginArray, .beginObject: depth += 1
        case .endArray, .endObject: depth -= 1
        case .text(_, let isLast): if !isLast { return false }
        case .name: return false
        case .number, .bool, .null, .needsBytes, .ended: break
        }
        return depth == 0
    }

    private mutating func endPair() throws(Malformed) {
        guard let key = pair.key else { throw malformed("has no key") }
        guard var value = pair.value else { throw malformed("has no value") }
        guard writes.count + refused.count < KVLimits.bulkWritesMax else {
            throw Malformed(reason: "You can write a maximum of \(KVLimits.bulkWritesMax) keys", code: 10021)
        }
        var byteCount = pair.valueByteCount
        pair.value = nil
        if pair.isBase64 {
            if byteCount > Self.keptByteCountMax {
                byteCount = byteCount / 4 * 3
            } else if let decoded = Data(base64Encoded: Data(value)) {
                value = Array(decoded)
                byteCount = value.count
            } else {
                return refused.append(Refused(key: key, text: "the value is not valid base64"))
            }
        }
        writes.append(
            KVWrite(
                key: key, value: byteCount > KVLimits.valueByteCountMax ? [] : value[...], expiration: pair.expiration,
                expirationTtl: pair.expirationTTL, metadata: pair.hasMetadata ? pair.metadata.text : nil,
                valueByteCount: byteCount))
    }

    /// Fractions are cut off; what is larger than any time is the last one.
    private static func integer(_ bytes: [UInt8]) -> Int64 {
        let text = String(decoding: bytes, as: UTF8.self)
        if let integer = Int64(text) { return integer }
        let number = Double(text) ?? 0
        return number >= 0x1p63 ? .max : number < -0x1p63 ? .min : Int64(number)
    }

    private func malformed(_ what: String) -> Malformed {
        Malformed(reason: "pair \(writes.count + refused.count) \(what)")
    }
}

/// Writes events as JSON text again, without the space between them.
struct JSONCompactor {
    private var bytes: [UInt8] = []
    private var isInText = false

    var text: String { String(decoding: bytes, as: UTF8.self) }

    mutating func take(_ event: JSONEvents.Event) {
        switch event {
        case .beginArray: begin(UInt8(ascii: "["))
        case .beginObject: begin(UInt8(ascii: "{"))
        case .endArray: bytes.append(UInt8(ascii: "]"))
        case .endObject: bytes.append(UInt8(ascii: "}"))
        case .name(let name):
            separate()
            put(name)
            bytes.append(UInt8(ascii: ":"))
        case .text(let piece, let isLast):
            if !isInText {
                separate()
                bytes.append(UInt8(ascii: "\""))
            }
            JSON.escape(piece, to: &bytes)
            isInText = !isLast
            if isLast { bytes.append(UInt8(ascii: "\"")) }
        case .number(let digits):
            separate()
            bytes += digits
        case .bool(let bool):
            separate()
            bytes += (bool ? "true" : "false").utf8
        case .null:
            separate()
            bytes += "null".utf8
        case .needsBytes, .ended: break
        }
    }

    private mutating func begin(_ bracket: UInt8) {
        separate()
        bytes.append(bracket)
    }

    private mutating func separate() {
        switch bytes.last {
        case nil, UInt8(ascii: "["), UInt8(ascii: "{"), UInt8(ascii: ":"): break
        default: bytes.append(UInt8(ascii: ","))
        }
    }

    private mutating func put(_ name: [UInt8]) {
        bytes.append(UInt8(ascii: "\""))
        JSON.escape(name, to: &bytes)
        bytes.append(UInt8(ascii: "\""))
    }
}
