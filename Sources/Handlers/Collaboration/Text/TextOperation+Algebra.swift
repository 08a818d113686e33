/// Composition and transformation: operational transformation with a server that orders everything (Nichols et al., "High-latency,
/// low-bandwidth windowing in the Jupiter collaboration system", UIST 1995). Since each client exchanges operations with
/// the server alone, one property is enough for convergence:
///
/// TP1: for `a` and `b` made for the same text, with `(a', b') = transform(a, b)`, the text after `a · b'` is that after `b · a'`.
extension TextOperation {
    /// Two operations that can't be put together, as one isn't made for the text that it would meet.
    package struct LengthMismatch: Error, Equatable, Sendable, CustomStringConvertible {
        package var expected: Int
        package var found: Int

        package init(expected: Int, found: Int) {
            self.expected = expected
            self.found = found
        }

        package var description: String { "the operation is made for a text of \(found) units; this one has \(expected)" }
    }

    /// One operation that does what `self`, and then `next`, do.
    package func composed(with next: TextOperation) throws(LengthMismatch) -> TextOperation {
        guard targetLength == next.baseLength else {
            throw LengthMismatch(expected: targetLength, found: next.baseLength)
        }
        var first = ComponentReader(self)
        var second = ComponentReader(next)
        var result = TextOperation()
        while true {
            switch (first.current, second.current) {
            case (nil, nil): return result
            case (.delete(let count), _):
                result.delete(count)
                first.advance()
            case (_, .insert(let units)):
                result.insert(units)
                second.advance()
            case (nil, _), (_, nil): throw LengthMismatch(expected: targetLength, found: next.baseLength)
            case (.retain(let left), .retain(let right)):
                let count = min(left, right)
                result.retain(count)
                first.take(count)
                second.take(count)
            case (.retain(let left), .delete(let right)):
                let count = min(left, right)
                result.delete(count)
                first.take(count)
                second.take(count)
            case (.insert(let units), .retain(let right)):
                let count = min(units.count, right)
                result.insert(units.prefix(count))
                first.take(count)
                second.take(count)
            case (.insert(let units), .delete(let right)):
                let count = min(units.count, right)
                first.take(count)
                second.take(count)
            }
        }
    }

    /// Makes two concurrent operations follow each other, either way round. Where both insert at one place, the text of `earlier`
    /// comes to the left.
    ///
    /// - Parameters:
    ///   - earlier: The one that the server has put first.
    ///   - later: Made for the same text.
    /// - Returns: `earlier` as it is after `later`, and `later` as it is after `earlier`.
    package static func transform(
        _ earlier: TextOperation, _ later: TextOperation
    ) throws(LengthMismatch) -> (earlier: TextOperation, later: TextOperation) {
        guard earlier.baseLength == later.baseLength else {
            throw LengthMismatch(expected: earlier.baseLength, found: later.baseLength)
        }
        var first = ComponentReader(earlier)
        var second = ComponentReader(later)
        var result = (earlier: TextOperation(), later: TextOperation())
        while true {
            switch (first.current, second.current) {
            case (nil, nil): return result
            case (.insert(let units), _):
                result.earlier.insert(units)
                result.later.retain(units.count)
                first.advance()
            case (_, .insert(let units)):
                result.earlier.retain(units.count)
                result.later.insert(units)
                second.advance()
            case (nil, _), (_, nil): throw LengthMismatch(expected: earlier.baseLength, found: later.baseLength)
            case (.retain(let left), .retain(let right)):
                let count = min(left, right)
                result.earlier.retain(count)
                result.later.retain(count)
                first.take(count)
                second.take(count)
            case (.delete(let left), .delete(let right)):
                // Both deleted it: neither has to any more.
                let count = min(left, right)
                first.take(count)
                second.take(count)
            case (.delete(let left), .retain(let right)):
                let count = min(left, right)
                result.earlier.delete(count)
                first.take(count)
                second.take(count)
            case (.retain(let left), .delete(let right)):
                let count = min(left, right)
                result.later.delete(count)
                first.take(count)
                second.take(count)
            }
        }
    }

    /// One operation that does what all of them do, in order; `nil` for none. Halves are put together first, so that
    /// the cost is that of the result times the logarithm of their number.
    package static func composed(
        _ operations: some RandomAccessCollection<TextOperation>
    ) throws(LengthMismatch) -> TextOperation? {
        guard var composite = operations.first else { return nil }
        if operations.count == 1 { return composite }
        let middle = operations.index(operations.startIndex, offsetBy: operations.count / 2)
        if let left = try composed(operations[..<middle]), let right = try composed(operations[middle...]) {
            composite = try left.composed(with: right)
        }
        return composite
    }

    /// Where a place in the text is after the operation.
    ///
    /// - Parameter isAuthors: Whether the author of the operation is at that place: their cursor goes behind what they insert
    ///   there, another's stays before it.
    package func moved(_ position: Int, isAuthors: Bool = false) -> Int {
        var read = 0
        var written = 0
        for component in components {
            if read > position || (read == position && !isAuthors) { break }
            switch component {
            case .retain(let count):
                // What is inserted behind the place moves nothing.
                guard read + count <= position else { return written + position - read }
                read += count
                written += count
            case .insert(let units): written += units.count
            case .delete(let count):
                guard read + count <= position else { return written }
                read += count
            }
        }
        return written + max(0, position - read)
    }
}
