package import Wire

/// Reads what `D1ReplyWriter` wrote. Every length is checked against what is there.
package struct D1ReplyReader: Sendable {
    private let bytes: [UInt8]
    private let bodyOffset: Int
    private var offset = 0
    private let isExec: Bool
    package private(set) var bookmark: String?
    private var results: [(D1Result, columns: [String])] = []
    private var execResult = D1ExecResult(count: 0, duration: 0)

    /// Reads a reply, also one whose bulk is its body.
    package init(_ reply: BindingReply) async throws {
        if reply.message == [1], let body = reply.body {
            try self.init(decoding: await body.collect(upTo: D1ReplyReader.bytesMax))
        } else {
            try self.init(decoding: reply.message)
        }
    }

    /// More than a store ever answers.
    private static let bytesMax = 64 << 20

    package init(decoding bytes: [UInt8]) throws(WireError) {
        self.bytes = bytes
        guard bytes.count >= 2, bytes[0] == 0, bytes[1] == 1 || bytes[1] == 2 else {
            throw .invalidValue("D1 reply", offset: 0)
        }
        isExec = bytes[1] == 2
        bodyOffset = 2
        offset = 2
        if isExec {
            let count = try takeInteger(UInt32.self)
            execResult = D1ExecResult(count: Int(count), duration: try takeDouble())
        } else {
            try readResults()
        }
        let bookmark = try takeText()
        self.bookmark = bookmark.isEmpty ? nil : bookmark
        let region = try takeText()
        for index in results.indices { results[index].0.meta.servedByRegion = region }
        guard offset == bytes.count else { throw .invalidValue("trailing bytes", offset: offset) }
    }

    package func results(columns: Bool) throws(WireError) -> [(D1Result, columns: [String])] {
        guard !isExec else { throw .invalidValue("D1 reply", offset: 1) }
        return results
    }

    package func exec() throws(WireError) -> D1ExecResult {
        guard isExec else { throw .invalidValue("D1 reply", offset: 1) }
        return execResult
    }

    private mutating func readResults() throws(WireError) {
        let count = Int(try takeInteger(UInt32.self))
        for _ in 0..<count {
            let columnCount = Int(try takeInteger(UInt16.self))
            var names: [String] = []
            for _ in 0..<columnCount { names.append(try takeText()) }
            let columns = D1Columns(names)
            let rowCount = Int(try takeInteger(UInt32.self))
            // A row has at least one byte per column, and no statement gives rows without columns.
            guard rowCount == 0 || columnCount > 0, rowCount <= bytes.count - offset else {
                throw .invalidValue("row count", offset: offset)
            }
            var rows: [D1Row] = []
            rows.reserveCapacity(rowCount)
            for _ in 0..<rowCount {
                var values: [D1Value] = []
                values.reserveCapacity(columnCount)
                for _ in 0..<columnCount { values.append(try takeValue()) }
                rows.append(D1Row(columns: columns, values: values))
            }
            results.append((D1Result(results: rows, meta: try takeMeta()), columns: names))
        }
    }

    private mutating func takeMeta() throws(WireError) -> D1Meta {
        var meta = D1Meta()
        meta.duration = try takeDouble()
        meta.changes = try takeInteger(Int64.self)
        meta.lastRowID = try takeInteger(Int64.self)
        meta.changedDB = try takeInteger(UInt8.self) != 0
        meta.sizeAfter = try takeInteger(Int64.self)
        meta.rowsRead = try takeInteger(Int64.self)
        meta.rowsWritten = try takeInteger(Int64.self)
        return meta
    }

    private mutating func takeValue() throws(WireError) -> D1Value {
        guard let tag = D1ReplyWriter.Tag(rawValue: try takeInteger(UInt8.self)) else {
            throw .invalidValue("D1 value", offset: offset - 1)
        }
        switch tag {
        case .null: return .null
        case .integer8: return .integer(Int64(try takeInteger(Int8.self)))
        case .integer16: return .integer(Int64(try takeInteger(Int16.self)))
        case .integer32: return .integer(Int64(try takeInteger(Int32.self)))
        case .integer64: return .integer(try takeInteger(Int64.self))
        case .real: return .real(try takeDouble())
        case .shortText: return .text(try takeText(count: Int(try takeInteger(UInt8.self))))
        case .text: return .text(try takeText())
        case .shortBlob: return .blob(Array(bytes[try takeRange(Int(try takeInteger(UInt8.self)))]))
        case .blob: return .blob(Array(bytes[try takeRange(Int(try takeInteger(UInt32.self)))]))
        }
    }

    private mutating func takeText() throws(WireError) -> String {
        try takeText(count: Int(try takeInteger(UInt32.self)))
    }

    /// Text of SQL may hold any bytes; what is not UTF-8 is repaired.
    private mutating func takeText(count: Int) throws(WireError) -> String {
        String(decoding: bytes[try takeRange(count)], as: UTF8.self)
    }

    private mutating func takeDouble() throws(WireError) -> Double {
        Double(bitPattern: try takeInteger(UInt64.self))
    }

    private mutating func takeRange(_ count: Int) throws(WireError) -> Range<Int> {
        guard count <= bytes.count - offset else { throw .truncated(offset: offset) }
        defer { offset += count }
        return offset..<(offset + count)
    }

    private mutating func takeInteger<Value: FixedWidthInteger>(_ type: Value.Type) throws(WireError) -> Value {
        let range = try takeRange(Value.bitWidth / 8)
        var value: Value = 0
        var shift = 0
        for index in range {
            value |= Value(truncatingIfNeeded: bytes[index]) << shift
            shift += 8
        }
        return value
    }
}
