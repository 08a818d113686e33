internal import Interfaces
package import Stores

/// How callers hold values: what is small at once, what is large against the tenant's budget.
extension KVStoreNamespace {
    /// Reads what is small at once, and what is large when the memory for it was granted.
    ///
    /// - Parameter copies: How often the values are in memory before they are sent.
    package func readHeld<Found>(
        copies: Int = 1, _ look: (_ byteCountMax: Int) async throws(KVError) -> KVLookup<Found>
    ) async throws(KVError) -> (Found?, Budget.Share?) {
        var byteCountMax = KVLimits.inlineByteCountMax
        var share: Budget.Share?
        while true {
            switch try await look(byteCountMax) {
            case .missing: return (nil, nil)
            case .found(let found): return (found, share)
            case .larger(let byteCount):
                // The second time, it has grown since it was measured: take what it can grow to at most.
                byteCountMax = share == nil ? min(byteCount, KVLimits.valueByteCountMax) : KVLimits.valueByteCountMax
                share = nil
                do throws(Budget.Refused) {
                    share = try await memory.outgoing.acquire(copies * byteCountMax)
                } catch { throw .overloaded }
            }
        }
    }

    /// Collects a value that arrives in pieces, against the tenant's budget.
    ///
    /// - Parameters:
    ///   - byteCountMax: What it may become, as far as that is known.
    ///   - next: The next piece; `nil` at the end.
    /// - Throws: `KVError.overloaded` before anything is read; what `next` throws.
    package func collect(
        byteCountMax: Int = KVLimits.valueByteCountMax, _ next: () async throws -> [UInt8]?
    ) async throws -> KVCollectedValue {
        let share: Budget.Share
        do throws(Budget.Refused) {
            share = try await memory.incoming.acquire(min(byteCountMax, KVLimits.valueByteCountMax))
        } catch { throw KVError.overloaded }
        var (bytes, byteCount) = ([UInt8](), 0)
        // Growing would have it in memory twice.
        if byteCountMax < KVLimits.valueByteCountMax { bytes.reserveCapacity(byteCountMax) }
        while let piece = try await next() {
            byteCount += piece.count
            // Of a value that is too long only the length is of interest: the error names it.
            if byteCount > KVLimits.valueByteCountMax { bytes = [] } else { bytes += piece }
        }
        share.shrink(to: bytes.count)
        return KVCollectedValue(bytes: bytes, byteCount: byteCount, share: share)
    }
}

/// A value on its way in. Its share of the budget lasts as long as it is held.
package struct KVCollectedValue: Sendable {
    /// Empty when it was too long.
    package let bytes: [UInt8]
    /// Its full length.
    package let byteCount: Int
    package let share: Budget.Share
}
