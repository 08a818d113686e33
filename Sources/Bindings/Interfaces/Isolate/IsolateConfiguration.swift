package import Wire

/// What an isolate is and may use: the message of the `configure` call, the first thing on its first channel.
package struct IsolateConfiguration: Equatable, Sendable {
    package enum BindingKind: UInt8, Sendable {
        case kv = 1
        case d1, r2, queue, service, rateLimit, versionMetadata, analytics, assets, durableObject
    }

    /// A capability. Its place in `bindings` is its number in calls.
    package struct Binding: Equatable, Sendable {
        package var name: String
        package var kind: BindingKind
        /// Of a namespace of durable objects: its key, 32 bytes, from which ids are made. Else empty.
        package var key: [UInt8]
        package init(_ name: String, _ kind: BindingKind, key: [UInt8] = []) {
            self.name = name
            self.kind = kind
            self.key = key
        }
    }

    /// A class of durable objects whose instances the isolate may own.
    package struct ObjectClass: Equatable, Sendable {
        package var name: String
        /// The namespace's key, as a binding has it.
        package var key: [UInt8]
        /// Where its objects' files are, one `ID.sqlite` per object below a folder of the id's first two digits: the isolate can
        /// write there and nowhere else.
        package var directory: String
        /// A class with SQLite storage; else with keys and values only.
        package var hasSQL: Bool
        /// How far back its objects can go; 0 keeps no history.
        package var historySeconds: UInt32

        package init(name: String, key: [UInt8], directory: String, hasSQL: Bool = true, historySeconds: UInt32 = 0) {
            self.name = name
            self.key = key
            self.directory = directory
            self.hasSQL = hasSQL
            self.historySeconds = historySeconds
        }
    }

    /// A variable: a text, or any other value as JSON.
    package enum Variable: Equatable, Sendable {
        case text(String)
        case json(String)
    }

    package var tenant: String
    package var worker: String
    package var version: String
    /// What its deployer called the version; empty when nothing.
    package var versionTag: String
    /// When the version first came to be on this node, in milliseconds since 1970.
    package var versionTime: Int64
    package var environment: String
    /// Three letters, the place in `CF-Ray`.
    package var colo: String
    package var bindings: [Binding]
    package var variables: [(name: String, value: Variable)]
    package var secrets: [(name: String, value: String)]
    /// CPU time that one event may use.
    package var cpuLimitNanoseconds: UInt64
    package var subrequestsMax: UInt32
    /// Empty but in isolates that are there for objects.
    package var objectClasses: [ObjectClass]

    package init(
        tenant: String, worker: String, version: String, versionTag: String = "", versionTime: Int64 = 0,
        environment: String, colo: String = "LOC",
        bindings: [Binding] = [], variables: [(name: String, value: Variable)] = [],
        secrets: [(name: String, value: String)] = [], cpuLimitNanoseconds: UInt64 = 30_000_000_000,
        subrequestsMax: UInt32 = 1000, objectClasses: [ObjectClass] = []
    ) {
        self.tenant = tenant
        self.worker = worker
        self.version = version
        self.versionTag = versionTag
        self.versionTime = versionTime
        self.environment = environment
        self.colo = colo
        self.bindings = bindings
        self.variables = variables
        self.secrets = secrets
        self.cpuLimitNanoseconds = cpuLimitNanoseconds
        self.subrequestsMax = subrequestsMax
        self.objectClasses = objectClasses
    }

    package static func == (left: Self, right: Self) -> Bool { left.encoded() == right.encoded() }

    /// Goes up with every change of what node and isolate say to each other, so that a worker that was linked with another SDK
    /// is told apart at its start.
    private static let formatVersion: UInt32 = 0x6564_0006

    package func encoded() -> [UInt8] {
        var encoder = WireEncoder(capacity: 512)
        encoder.put(Self.formatVersion)
        for text in [tenant, worker, version, versionTag, environment, colo] { encoder.put(text) }
        encoder.put(versionTime)
        encoder.put(list: bindings) { encoder, binding in
            encoder.put(binding.name)
            encoder.put(binding.kind.rawValue)
            encoder.put(binding.key)
        }
        encoder.put(list: variables) { encoder, variable in
            encoder.put(variable.name)
            switch variable.value {
            case .text(let text):
                encoder.put(false)
                encoder.put(text)
            case .json(let text):
                encoder.put(true)
                encoder.put(text)
            }
        }
        encoder.put(list: secrets) { encoder, secret in
            encoder.put(secret.name)
            encoder.put(secret.value)
        }
        encoder.put(cpuLimitNanoseconds)
        encoder.put(subrequestsMax)
        encoder.put(list: objectClasses) { encoder, item in
            encoder.put(item.name)
            encoder.put(item.key)
            encoder.put(item.directory)
            encoder.put(item.hasSQL)
            encoder.put(item.historySeconds)
        }
        return encoder.bytes
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        guard try decoder.takeUInt32() == Self.formatVersion else {
            throw .invalidValue("version of the SDK: build the worker again, as it is older or newer than the node", offset: 0)
        }
        tenant = try decoder.takeString()
        worker = try decoder.takeString()
        version = try decoder.takeString()
        versionTag = try decoder.takeString()
        environment = try decoder.takeString()
        colo = try decoder.takeString()
        versionTime = try decoder.takeInt64()
        bindings = try decoder.takeList { decoder throws(WireError) in
            let name = try decoder.takeString()
            let number = try decoder.takeUInt8()
            guard let kind = BindingKind(rawValue: number) else {
                throw .invalidValue("binding kind", offset: decoder.offset - 1)
            }
            return Binding(name, kind, key: try decoder.takeBytes())
        }
        variables = try decoder.takeList { decoder throws(WireError) in
            let name = try decoder.takeString()
            let isJSON = try decoder.takeBool()
            let text = try decoder.takeString()
            return (name, isJSON ? .json(text) : .text(text))
        }
        secrets = try decoder.takeList { decoder throws(WireError) in
            (try decoder.takeString(), try decoder.takeString())
        }
        cpuLimitNanoseconds = try decoder.takeUInt64()
        subrequestsMax = try decoder.takeUInt32()
        objectClasses = try decoder.takeList { decoder throws(WireError) in
            ObjectClass(
                name: try decoder.takeString(), key: try decoder.takeBytes(), directory: try decoder.takeString(),
                hasSQL: try decoder.takeBool(), historySeconds: try decoder.takeUInt32())
        }
        try decoder.finish()
    }
}

/// What an isolate says of itself in its reply to `configure`.
package struct IsolateDescription: Equatable, Sendable {
    /// The events it handles: `fetch`, `scheduled`, `queue`.
    package var handlers: [String]
    /// The classes of durable objects that it has, and whether each has an `alarm` handler.
    package var objectClasses: [(name: String, hasAlarm: Bool)]
    /// The names of its entrypoints for typed calls; the default one's is empty.
    package var entrypoints: [String]

    package init(handlers: [String], objectClasses: [(name: String, hasAlarm: Bool)] = [], entrypoints: [String] = []) {
        self.handlers = handlers
        self.objectClasses = objectClasses
        self.entrypoints = entrypoints
    }

    package static func == (a: Self, b: Self) -> Bool { a.encoded() == b.encoded() }

    package func encoded() -> [UInt8] {
        var encoder = WireEncoder()
        encoder.put(list: handlers) { $0.put($1) }
        encoder.put(list: objectClasses) { encoder, item in
            encoder.put(item.name)
            encoder.put(item.hasAlarm)
        }
        encoder.put(list: entrypoints) { $0.put($1) }
        return encoder.bytes
    }

    package init(decoding decoder: inout WireDecoder) throws(WireError) {
        handlers = try decoder.takeList { decoder throws(WireError) in try decoder.takeString() }
        objectClasses = try decoder.takeList { decoder throws(WireError) in
            (name: try decoder.takeString(), hasAlarm: try decoder.takeBool())
        }
        entrypoints = try decoder.takeList { decoder throws(WireError) in try decoder.takeString() }
        try decoder.finish()
    }
}
