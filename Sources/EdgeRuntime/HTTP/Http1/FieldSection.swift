/// The field lines of a head or a trailer section, found in place (RFC 9112 §5). Its storage grows to what
/// the connection's messages need and is kept, so that parsing the next one allocates nothing.
@usableFromInline
package struct FieldSection: ~Copyable {
    @usableFromInline var storage: [HeaderField] = []
    @usableFromInline package internal(set) var count = 0
    /// One bit for each known header that is there.
    @usableFromInline var present: UInt64 = 0

    /// The start of the first line that isn't complete yet.
    var position = 0
    /// While a value is arriving: where it starts, and up to where it was found clean.
    private var valueStart = 0
    private var scanned = 0

    enum Step {
        case field(HeaderField)
        /// The empty line was read; `position` is behind it.
        case end
        case needMore
    }

    init() {}

    @inlinable @inline(__always)
    package subscript(_ index: Int) -> HeaderField {
        precondition(index < count, "a field that was parsed")
        return storage[index]
    }

    @inlinable @inline(__always)
    package func contains(_ header: KnownHeader) -> Bool { present & header.bit != 0 }

    /// The first field with this name.
    @inlinable
    package func first(_ header: KnownHeader) -> HeaderField? {
        guard contains(header) else { return nil }
        for index in 0..<count where storage[index].known == header { return storage[index] }
        return nil
    }

    mutating func reset(at position: Int) {
        count = 0
        present = 0
        self.position = position
        scanned = 0
    }

    /// Gives the storage back: for connections that wait.
    mutating func releaseStorage() {
        storage = []
        count = 0
        present = 0
    }

    @inline(__always)
    mutating func record(_ field: HeaderField) {
        if count < storage.count {
            storage[count] = field
        } else {
            if storage.isEmpty { storage.reserveCapacity(16) }
            storage.append(field)
        }
        count += 1
        present |= field.known.bit
    }

    mutating func markHopByHop(_ index: Int) { storage[index].isHopByHop = true }

    /// Reads the line at `position`, if it is complete.
    ///
    /// - Parameter end: no byte from here on is looked at.
    @inline(__always)
    mutating func next(
        _ bytes: RawSpan, to end: Int, fieldsMax: Int, nameBytesMax: Int
    ) throws(HTTPParseError) -> Step {
        let start = position
        guard start < end else { return .needMore }
        if bytes[start] == 0x0D {
            guard start + 1 < end else { return .needMore }
            guard bytes[start + 1] == 0x0A else { throw .bareCarriageReturn }
            position = start + 2
            return .end
        }
        guard count < fieldsMax else { throw .tooManyFields }

        let nameEnd = bytes.endOfToken(from: start, to: min(end, start + nameBytesMax + 1))
        guard nameEnd - start <= nameBytesMax else { throw .fieldNameTooLong }
        guard nameEnd < end else { return .needMore }
        guard bytes[nameEnd] == 0x3A, nameEnd > start else {
            throw Self.refusedName(bytes, stoppedAt: nameEnd, start: start)
        }

        var value = scanned > 0 ? valueStart : nameEnd + 1
        while value < end, bytes[value].isOptionalWhitespace { value += 1 }
        var stop = max(value, scanned)
        while true {
            stop = bytes.endOfFieldValue(from: stop, to: end)
            guard stop < end, bytes[stop] == 0x09 else { break }
            stop += 1
        }
        valueStart = value
        scanned = stop
        guard stop < end else { return .needMore }
        guard bytes[stop] == 0x0D else {
            throw bytes[stop] == 0x0A ? .bareLineFeed : .controlCharacter
        }
        guard stop + 1 < end else { return .needMore }
        guard bytes[stop + 1] == 0x0A else { throw .bareCarriageReturn }
        position = stop + 2
        scanned = 0

        while stop > value, bytes[stop - 1].isOptionalWhitespace { stop -= 1 }
        let nameCount = nameEnd - start
        return .field(
            HeaderField(
                nameOffset: start, nameCount: nameCount, valueOffset: value, valueCount: stop - value,
                known: KnownHeader.identify(bytes, at: start, count: nameCount)))
    }

    private static func refusedName(_ bytes: RawSpan, stoppedAt stop: Int, start: Int) -> HTTPParseError {
        switch bytes[stop] {
        case 0x20, 0x09: stop == start ? .leadingWhitespace : .whitespaceBeforeColon
        case 0x0A: .bareLineFeed
        default: .malformedFieldName
        }
    }
}
