/// On which of the isolate's executors a job has to run. All are the same thread.
enum JobHome: UInt8 {
    /// The executor of an event: its task and its child tasks.
    case event
    /// The default executor: unstructured tasks.
    case detached
    /// The main actor.
    case main
    /// A critical section of an object.
    case section
}

/// A job that can run, and the event that it runs for.
struct QueuedJob {
    let job: UnownedJob
    let invocation: Invocation
    let home: JobHome
    /// The critical section that its task was started in, or runs.
    var section: GateSection?
    /// What wakes it has seen to it that it may run, whether its object's gate is closed or not.
    var passesGate = false
}

/// Runnable jobs in order: a ring that grows. One owner, one thread.
@safe struct JobQueue: ~Copyable {
    private var base: UnsafeMutablePointer<QueuedJob>
    private var capacity: Int
    private var head = 0
    private(set) var count = 0

    init(capacity: Int = 256) {
        self.capacity = capacity
        unsafe base = .allocate(capacity: capacity)
    }

    deinit {
        for index in 0..<count {
            // SAFETY: the `count` elements behind head are initialised, no others are.
            unsafe (base + ((head + index) & (capacity - 1))).deinitialize(count: 1)
        }
        unsafe base.deallocate()
    }

    var isEmpty: Bool { count == 0 }

    @inline(__always)
    mutating func append(_ job: consuming QueuedJob) {
        if count == capacity { grow() }
        // SAFETY: count < capacity, so this element is free; capacity is a power of two.
        unsafe (base + ((head + count) & (capacity - 1))).initialize(to: job)
        count += 1
    }

    /// Puts a job in front of all others.
    mutating func prepend(_ job: consuming QueuedJob) {
        if count == capacity { grow() }
        head = (head - 1) & (capacity - 1)
        // SAFETY: count < capacity, so the element before the first one is free.
        unsafe (base + head).initialize(to: job)
        count += 1
    }

    func contains(_ isWanted: (borrowing QueuedJob) -> Bool) -> Bool {
        for index in 0..<count {
            // SAFETY: the `count` elements behind head are initialised.
            if unsafe isWanted((base + ((head + index) & (capacity - 1))).pointee) { return true }
        }
        return false
    }

    @inline(__always)
    mutating func takeFirst() -> QueuedJob? {
        guard count > 0 else { return nil }
        // SAFETY: the element at head is initialised while count > 0, and moved out once.
        let job = unsafe (base + head).move()
        head = (head + 1) & (capacity - 1)
        count -= 1
        return job
    }

    private mutating func grow() {
        let grown: UnsafeMutablePointer<QueuedJob> = .allocate(capacity: capacity * 2)
        for index in 0..<count {
            // SAFETY: moves each initialised element once into fresh memory that is large enough.
            unsafe (grown + index).initialize(to: (base + ((head + index) & (capacity - 1))).move())
        }
        unsafe base.deallocate()
        unsafe base = grown
        capacity *= 2
        head = 0
    }
}
