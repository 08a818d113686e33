internal import Synchronization

/// Counts connections, in total and per client address, over all reactors. Bounded by what it counts.
final class Admission: Sendable {
    private struct State {
        var total = 0
        var perAddress: [[UInt8]: Int] = [:]
    }
    private let state = Mutex(State())
    let connectionsMax: Int
    let perAddressMax: Int

    /// - Parameters:
    ///   - connectionsMax: What descriptors and memory of a node allow.
    ///   - perAddressMax: What one client may hold.
    init(connectionsMax: Int, perAddressMax: Int) {
        self.connectionsMax = connectionsMax
        self.perAddressMax = perAddressMax
    }

    /// - Parameter isExempt: A trusted proxy: many clients stand behind it. To be said again at `leave`.
    func admit(_ address: NetworkAddress, isExempt: Bool = false) -> Bool {
        state.withLock { state in
            guard state.total < connectionsMax else { return false }
            guard !isExempt else {
                state.total += 1
                return true
            }
            let count = state.perAddress[address.bytes, default: 0]
            guard count < perAddressMax else { return false }
            state.perAddress[address.bytes] = count + 1
            state.total += 1
            return true
        }
    }

    func leave(_ address: NetworkAddress, isExempt: Bool = false) {
        state.withLock { state in
            state.total -= 1
            guard !isExempt, let count = state.perAddress[address.bytes] else { return }
            state.perAddress[address.bytes] = count > 1 ? count - 1 : nil
        }
    }

    var count: Int { state.withLock { $0.total } }
}
