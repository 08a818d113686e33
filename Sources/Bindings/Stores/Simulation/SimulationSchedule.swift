internal import Observability
internal import Synchronization
internal import System

/// What the calls of one binding meet. The fate of an operation's n-th call follows from the seed, the binding, the operation
/// and n, and from nothing else: the same calls meet the same on every run, whatever threads they run on.
final class SimulationSchedule: Sendable {
    enum Operation: String, Sendable {
        case kvGet = "kv get"
        case kvGetMany = "kv get many"
        case kvPut = "kv put"
        case kvDelete = "kv delete"
        case kvList = "kv list"
        case d1Query = "d1 query"
        case d1Lag = "d1 lag"
        case r2Head = "r2 head"
        case r2Get = "r2 get"
        case r2Put = "r2 put"
        case r2Delete = "r2 delete"
        case r2List = "r2 list"
        case r2Multipart = "r2 multipart"
        case queueSend = "queue send"
        case queueOrder = "queue order"
        case queueSettle = "queue settle"
    }

    /// How a call fails.
    enum Fate: Sendable, Equatable {
        case succeeds
        /// Nothing was done.
        case failsBefore
        /// It was done, and its caller never learns.
        case failsAfter
    }

    /// One call: its number among those of its operation, from 1, and its own source of chance.
    struct Call {
        let operation: Operation
        let number: UInt64
        var chance: Chance
    }

    private let seed: UInt64
    private let failurePercentage: Int
    private let latency: Duration
    private let clock: any NodeClock
    private let logger: Logger
    private let counts = Mutex<[Operation: UInt64]>([:])

    /// One call in so many is slow.
    private static let slowCallsPeriod = 10

    init(_ settings: SimulationSettings, binding: String, clock: any NodeClock, logger: Logger) {
        seed = Chance.mix(settings.seed, binding)
        failurePercentage = settings.failurePercentage
        latency = settings.latency
        self.clock = clock
        self.logger = logger.with("binding", binding)
    }

    func next(_ operation: Operation) -> Call {
        let number = counts.withLock { counts in
            counts[operation, default: 0] += 1
            return counts[operation, default: 0]
        }
        return Call(operation: operation, number: number, chance: chance(operation, number))
    }

    /// What is decided by a thing's own number rather than by the count of calls.
    func chance(_ operation: Operation, _ number: UInt64) -> Chance {
        Chance(seed: Chance.mix(seed, operation.rawValue) ^ (number &* 0xD6E8_FEB8_6659_FD93))
    }

    /// Lets the call wait if it is a slow one.
    ///
    /// - Throws: when the caller has gone meanwhile.
    func delay(_ call: inout Call) async throws(CancellationError) {
        guard call.chance.below(Self.slowCallsPeriod) == 0, latency > .zero else { return }
        let milliseconds = 1 + call.chance.below(max(1, Int(latency.wholeMilliseconds)))
        note(call, "slow", [("milliseconds", "\(milliseconds)")])
        try await clock.sleep(for: .milliseconds(milliseconds))
    }

    /// - Parameter writes: Whether it can fail after it was done.
    func fate(_ call: inout Call, writes: Bool) -> Fate {
        guard call.chance.below(100) < failurePercentage else { return .succeeds }
        let fate = writes && call.chance.below(2) == 0 ? Fate.failsAfter : .failsBefore
        note(call, fate == .failsAfter ? "fails after it was done" : "fails")
        return fate
    }

    func note(_ call: Call, _ what: String, _ fields: [(name: String, value: String)] = []) {
        note(call.operation, call.number, what, fields)
    }

    func note(
        _ operation: Operation, _ number: UInt64, _ what: String, _ fields: [(name: String, value: String)] = []
    ) {
        logger.log(
            .debug, "simulated: \(operation.rawValue) \(what)", [("number", "\(number)")] + fields)
    }
}

/// Numbers that follow from a seed (SplitMix64).
struct Chance: RandomNumberGenerator, Sendable {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// One of `0 ..< bound`; `bound` is positive.
    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }

    /// A seed and a name (FNV-1a) make another seed, the same in every process.
    static func mix(_ seed: UInt64, _ name: String) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
        var chance = Chance(seed: seed ^ hash)
        return chance.next()
    }
}
