internal import Interfaces

/// The results of an answer as JSON, made piece by piece from the answer's own bytes (`D1ReplyWriter` has their form):
/// memory holds those and one piece, however long the JSON becomes.
package struct D1JSONPieces: Sendable {
    private enum Phase { case beginning, result, row, value, meta, end, finished }

    private let bytes: [UInt8]
    private let shape: D1JSON.Shape
    private let region: String
    private let prefix: [UInt8]
    private let suffix: [UInt8]

    private var phase = Phase.beginning
    private var offset = 2
    private var resultsLeft: UInt32 = 0
    private var isFirstResult = true
    private var rowsLeft: UInt32 = 0
    private var isFirstRow = true
    private var columnCount = 0
    /// What stands before each value that is written, and which of the row's values that is.
    private var plan: [(label: [UInt8], column: Int)] = []
    /// Whether several columns have one name, and the places of a row's values are to be found first.
    private var hasTwins = false
    private var places: [Int] = []
    private var planIndex = 0
    /// What is left of a long text or blob.
    private var rest: (range: Range<Int>, isText: Bool)?
    /// Whether nothing of it was written yet.
    private var isBeginning = false

    private static let pieceByteCount = 64 << 10
    /// A text or blob of more is written in several steps.
    private static let stepByteCount = 16 << 10

    /// - Parameters:
    ///   - prefix: What stands before the array of results, and `suffix` behind it.
    package init(
        _ answer: [UInt8], _ shape: D1JSON.Shape, region: String, prefix: [UInt8] = [], suffix: [UInt8] = []
    ) {
        bytes = answer
        self.shape = shape
        self.region = region
        self.prefix = prefix
        self.suffix = suffix
    }

    /// The next piece, of about 64 KiB; `nil` behind the last one.
    package mutating func next() -> [UInt8]? {
        guard phase != .finished else { return nil }
        var piece: [UInt8] = []
        while piece.count < Self.pieceByteCount, phase != .finished { step(&piece) }
        return piece
    }

    /// All pieces in one.
    package mutating func all() -> [UInt8] {
        var all: [UInt8] = []
        while let piece = next() { all += piece }
        return all
    }

    // MARK: Steps, each of which writes little

    private mutating func step(_ out: inout [UInt8]) {
        if rest != nil { return continueRest(&out) }
        switch phase {
        case .beginning:
            out += prefix
            out.append(UInt8(ascii: "["))
            resultsLeft = take(UInt32.self)
            phase = resultsLeft == 0 ? .end : .result
        case .result: beginResult(&out)
        case .row: beginRow(&out)
        case .value: writeValue(&out)
        case .meta: endResult(&out)
        case .end:
            out.append(UInt8(ascii: "]"))
            out += suffix
            phase = .finished
        case .finished: break
        }
    }

    private mutating func beginResult(_ out: inout [UInt8]) {
        if !isFirstResult { out.append(UInt8(ascii: ",")) }
        isFirstResult = false
        columnCount = Int(take(UInt16.self))
        let names = (0..<columnCount).map { _ in takeText() }
        rowsLeft = take(UInt32.self)
        isFirstRow = true
        setPlan(names)
        switch shape {
        case .objects: out += #"{"results":["#.utf8
        case .arrays:
            out += #"{"results":{"columns":["#.utf8
            for (index, name) in names.enumerated() {
                if index > 0 { out.append(UInt8(ascii: ",")) }
                D1JSON.put(text: name, &out)
            }
            out += #"],"rows":["#.utf8
        }
        phase = rowsLeft == 0 ? .meta : .row
    }

    /// Objects have each name once, at its first place, with its last value.
    private mutating func setPlan(_ names: [String]) {
        guard shape == .objects else {
            plan = names.indices.map { ($0 == 0 ? [] : [UInt8(ascii: ",")], $0) }
            hasTwins = false
            return
        }
        var places: [[UInt8]: Int] = [:]
        plan = []
        for (column, name) in names.enumerated() {
            // By bytes: equal strings may differ in them, and are two names to SQLite.
            if let place = places[Array(name.utf8)] {
                plan[place].column = column
                continue
            }
            places[Array(name.utf8)] = plan.count
            var label: [UInt8] = plan.isEmpty ? [] : [UInt8(ascii: ",")]
            D1JSON.put(text: name, &label)
            label.append(UInt8(ascii: ":"))
            plan.append((label, column))
        }
        hasTwins = plan.count < names.count
    }

    private mutating func beginRow(_ out: inout [UInt8]) {
        if !isFirstRow { out.append(UInt8(ascii: ",")) }
        isFirstRow = false
        rowsLeft -= 1
        planIndex = 0
        out.append(shape == .objects ? UInt8(ascii: "{") : UInt8(ascii: "["))
        if hasTwins {
            var place = offset
            places = (0..<columnCount).map { _ in
                defer { place = end(ofValueAt: place) }
                return place
            }
            // Where the next row begins.
            places.append(place)
        }
        phase = .value
    }

    private mutating func writeValue(_ out: inout [UInt8]) {
        guard planIndex < plan.count else {
            if hasTwins { offset = places[columnCount] }
            out.append(shape == .objects ? UInt8(ascii: "}") : UInt8(ascii: "]"))
            phase = rowsLeft == 0 ? .meta : .row
            return
        }
        let (label, column) = plan[planIndex]
        planIndex += 1
        out += label
        if hasTwins { offset = places[column] }
        write(&out)
    }

    private mutating func endResult(_ out: inout [UInt8]) {
        out += (shape == .objects ? "]" : "]}").utf8
        out += #","success":true,"meta":"#.utf8
        var meta = D1Meta()
        meta.duration = Double(bitPattern: take(UInt64.self))
        meta.changes = take(Int64.self)
        meta.lastRowID = take(Int64.self)
        meta.changedDB = take(UInt8.self) != 0
        meta.sizeAfter = take(Int64.self)
        meta.rowsRead = take(Int64.self)
        meta.rowsWritten = take(Int64.self)
        meta.servedByRegion = region
        D1JSON.put(meta, &out)
        out.append(UInt8(ascii: "}"))
        resultsLeft -= 1
        phase = resultsLeft == 0 ? .end : .result
    }

    // MARK: Values

    private mutating func write(_ out: inout [UInt8]) {
        switch takeTag() {
        case .null: out += "null".utf8
        // Numbers of JavaScript: exact up to 2⁵³.
        case .integer8: put(Int64(take(Int8.self)), &out)
        case .integer16: put(Int64(take(Int16.self)), &out)
        case .integer32: put(Int64(take(Int32.self)), &out)
        case .integer64: put(take(Int64.self), &out)
        case .real: out += D1JSON.number(Double(bitPattern: take(UInt64.self))).utf8
        case .shortText: begin(Int(take(UInt8.self)), isText: true, &out)
        case .text: begin(Int(take(UInt32.self)), isText: true, &out)
        case .shortBlob: begin(Int(take(UInt8.self)), isText: false, &out)
        case .blob: begin(Int(take(UInt32.self)), isText: false, &out)
        }
    }

    private func put(_ value: Int64, _ out: inout [UInt8]) {
        let isExact = value.magnitude <= 1 << 53
        out += (isExact ? String(value) : D1JSON.number(Double(value))).utf8
    }

    private mutating func begin(_ count: Int, isText: Bool, _ out: inout [UInt8]) {
        out.append(isText ? UInt8(ascii: "\"") : UInt8(ascii: "["))
        rest = (offset..<(offset + count), isText)
        isBeginning = true
        offset += count
        continueRest(&out)
    }

    private mutating func continueRest(_ out: inout [UInt8]) {
        guard let (range, isText) = rest else { return }
        var end = min(range.upperBound, range.lowerBound + Self.stepByteCount)
        if isText, end < range.upperBound {
            // Not inside of a character, which has four bytes at most; text that isn't UTF-8 is cut anywhere.
            for place in (end - 3...end).reversed() where bytes[place] & 0xC0 != 0x80 {
                end = place
                break
            }
        }
        let piece = bytes[range.lowerBound..<end]
        if isText { D1JSON.putUnquoted(piece, &out) } else { Self.put(blob: piece, isBeginning: isBeginning, &out) }
        isBeginning = false
        guard end == range.upperBound else { return rest = (end..<range.upperBound, isText) }
        out.append(isText ? UInt8(ascii: "\"") : UInt8(ascii: "]"))
        rest = nil
    }

    private static func put(blob: ArraySlice<UInt8>, isBeginning: Bool, _ out: inout [UInt8]) {
        for (index, byte) in blob.enumerated() {
            if index > 0 || !isBeginning { out.append(UInt8(ascii: ",")) }
            if byte >= 100 { out.append(0x30 + byte / 100) }
            if byte >= 10 { out.append(0x30 + byte / 10 % 10) }
            out.append(0x30 + byte % 10)
        }
    }

    // MARK: Reading. The bytes are the store's own: what isn't as it should be is a bug, and traps.

    private mutating func takeTag() -> D1ReplyWriter.Tag {
        guard let tag = D1ReplyWriter.Tag(rawValue: take(UInt8.self)) else {
            preconditionFailure("the store writes known tags only")
        }
        return tag
    }

    private mutating func takeText() -> String {
        let count = Int(take(UInt32.self))
        defer { offset += count }
        return String(decoding: bytes[offset..<(offset + count)], as: UTF8.self)
    }

    private mutating func take<Value: FixedWidthInteger>(_ type: Value.Type) -> Value {
        defer { offset += Value.bitWidth / 8 }
        return number(type, at: offset)
    }

    private func number<Value: FixedWidthInteger>(_ type: Value.Type, at place: Int) -> Value {
        var value: Value = 0
        for index in 0..<(Value.bitWidth / 8) { value |= Value(truncatingIfNeeded: bytes[place + index]) << (8 * index) }
        return value
    }

    private func end(ofValueAt place: Int) -> Int {
        let start = place + 1
        switch D1ReplyWriter.Tag(rawValue: bytes[place]) {
        case .null: return start
        case .integer8: return start + 1
        case .integer16: return start + 2
        case .integer32: return start + 4
        case .integer64, .real: return start + 8
        case .shortText, .shortBlob: return start + 1 + Int(bytes[start])
        case .text, .blob: return start + 4 + Int(number(UInt32.self, at: start))
        case nil: preconditionFailure("the store writes known tags only")
        }
    }
}
