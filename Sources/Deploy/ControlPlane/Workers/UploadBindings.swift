internal import Releases

/// The bindings of an upload: their shapes are read when it arrives, what they name is looked up when its turn has come.
struct UploadBindings: Sendable {
    private struct Item: Sendable {
        let name: String
        let type: String
        let json: JSON

        func text(_ key: String) throws(ScriptError) -> String {
            guard let text = json[key]?.text, !text.isEmpty else {
                throw .invalid("binding \(name) of type \(type) must have a valid `\(key)` specified")
            }
            return text
        }
    }

    private let items: [Item]
    private static let countMax = 1000
    private static let valueBytesMax = 5 * 1024
    /// What this node has no engine for.
    private static let unserved: Set<String> = [
        "vectorize", "hyperdrive", "workflow", "ai", "send_email", "secrets_store_secret", "assets",
        "browser", "dispatch_namespace", "mtls_certificate", "pipelines", "logfwdr", "secret_key", "images", "media",
    ]

    init(_ json: JSON?) throws(ScriptError) {
        guard let json, json != .null else {
            items = []
            return
        }
        guard let list = json.items, list.count <= Self.countMax else {
            throw .invalid("bindings must be an array of at most \(Self.countMax)")
        }
        var items: [Item] = []
        var names: Set<String> = []
        for value in list {
            guard let name = value["name"]?.text, !name.isEmpty else {
                throw ScriptError(400, 10052, "A binding must have a name")
            }
            guard let type = value["type"]?.text else { throw .invalid("binding \(name) must have a type") }
            guard names.insert(name).inserted else { throw .invalid("Duplicate binding name: \(name)") }
            items.append(Item(name: name, type: type, json: value))
        }
        self.items = items
    }

    /// Adds what they say to a version.
    func add(
        to snapshot: inout VersionSnapshot, _ secrets: inout [(name: String, value: String)], _ base: ScriptVersion?,
        of worker: String, isStrict: Bool, _ runner: ReleaseRunner
    ) async throws {
        for item in items {
            switch item.type {
            case "plain_text":
                let text = item.json["text"]?.text ?? ""
                try Self.checkSize(text, item)
                snapshot.variables.append(.init(item.name, text, isJSON: false))
            case "json":
                guard let value = item.json["json"] else {
                    throw ScriptError.invalid("binding \(item.name) of type json must have `json`")
                }
                // Wrangler's older form has it as a text.
                let text = String(decoding: value.bytes, as: UTF8.self)
                try Self.checkSize(text, item)
                snapshot.variables.append(.init(item.name, text, isJSON: true))
            case "secret_text": try addSecret(item, &snapshot, &secrets, base)
            case "inherit": try await inherit(item, &snapshot, base, isStrict: isStrict, runner)
            default:
                let target = try await target(item, of: worker, runner)
                snapshot.bindings.append(
                    .init(item.name, target, upload: String(decoding: item.json.bytes, as: UTF8.self)))
            }
        }
    }

    private static func checkSize(_ text: String, _ item: Item) throws(ScriptError) {
        guard text.utf8.count <= valueBytesMax else {
            throw .invalid("binding \(item.name) has \(text.utf8.count) bytes, and may have \(valueBytesMax)")
        }
    }

    /// One without a text is the one that is there.
    private func addSecret(
        _ item: Item, _ snapshot: inout VersionSnapshot, _ secrets: inout [(name: String, value: String)],
        _ base: ScriptVersion?
    ) throws(ScriptError) {
        if let text = item.json["text"]?.text {
            try Self.checkSize(text, item)
            secrets.append((item.name, text))
        } else if let known = base?.snapshot.secrets.first(where: { $0.name == item.name }) {
            snapshot.secrets.append(known)
        } else {
            throw .invalid("binding \(item.name) of type secret_text must have a valid `text` specified")
        }
    }

    private func inherit(
        _ item: Item, _ snapshot: inout VersionSnapshot, _ newest: ScriptVersion?, isStrict: Bool, _ runner: ReleaseRunner
    ) async throws {
        var base = newest
        if let id = item.json["version_id"]?.text, id != "latest", let worker = newest?.worker {
            base = try await runner.read { try $0.version(id.lowercased(), of: worker) }
        }
        let old = item.json["old_name"]?.text ?? item.name
        if let base, Self.take(old, of: base, as: item.name, into: &snapshot) { return }
        if isStrict {
            throw ScriptError(400, 10057, "Binding \(item.name) can't be inherited: the version before has no binding \(old)")
        }
    }

    @discardableResult
    private static func take(
        _ old: String, of base: ScriptVersion, as name: String, into snapshot: inout VersionSnapshot
    ) -> Bool {
        if var binding = base.snapshot.bindings.first(where: { $0.name == old }) {
            binding.name = name
            if let upload = binding.upload, case .object(let members)? = JSON(Array(upload.utf8)) {
                let renamed = members.map { $0.name == "name" ? JSON.Member(name: "name", value: .string(name)) : $0 }
                binding.upload = String(decoding: JSON.object(renamed).bytes, as: UTF8.self)
            }
            snapshot.bindings.append(binding)
            return true
        }
        if var variable = base.snapshot.variables.first(where: { $0.name == old }) {
            variable.name = name
            snapshot.variables.append(variable)
            return true
        }
        // A secret is sealed together with its name.
        if name == old, let secret = base.snapshot.secrets.first(where: { $0.name == old }) {
            snapshot.secrets.append(secret)
            return true
        }
        return false
    }

    /// Keeps the bindings of the version before that are of these types, unless the upload has others of their names.
    static func keep(
        _ types: [String], of base: ScriptVersion?, in snapshot: inout VersionSnapshot, except names: Set<String>
    ) {
        guard let base, !types.isEmpty else { return }
        var taken = names.union(snapshot.bindings.map(\.name)).union(snapshot.variables.map(\.name))
        taken.formUnion(snapshot.secrets.map(\.name))
        for (name, type) in ScriptJSON.bindingTypes(base.snapshot) where types.contains(type) && !taken.contains(name) {
            take(name, of: base, as: name, into: &snapshot)
        }
    }

    // MARK: What they name

    private func target(
        _ item: Item, of worker: String, _ runner: ReleaseRunner
    ) async throws -> WorkerDescription.Binding {
        switch item.type {
        case "kv_namespace":
            let id = try item.text("namespace_id").lowercased()
            guard await runner.hasKVNamespace(id) else {
                throw ScriptError(400, 10042, "KV namespace '\(id.prefix(64))' is not valid.")
            }
            return .kvNamespace(id: id)
        case "d1":
            guard let id = (item.json["id"] ?? item.json["database_id"])?.text,
                let resource = try await runner.d1Resource(id)
            else { throw ScriptError.invalid("binding \(item.name) of type d1 must have a valid `id` specified") }
            return .d1(database: resource)
        case "r2_bucket":
            let bucket = try item.text("bucket_name")
            guard try await runner.hasBucket(bucket) else {
                throw ScriptError(400, 10085, "R2 bucket '\(bucket.prefix(64))' not found. Please create it.")
            }
            return .r2(bucket: bucket)
        case "queue":
            let queue = try item.text("queue_name")
            guard try runner.hasQueue(queue) else {
                throw ScriptError(400, 11000, "Queue \"\(queue.prefix(64))\" does not exist. Please create it.")
            }
            return .queue(queue, delaySeconds: item.json["delivery_delay"]?.integer)
        case "service":
            let service = try item.text("service")
            let isThere = await runner.hasWorker(service)
            guard isThere || service == worker else {
                throw ScriptError.invalid(
                    "Could not resolve service binding '\(item.name)'. Target script '\(service.prefix(64))' not found.")
            }
            if let entrypoint = item.json["entrypoint"]?.text, entrypoint != "default" {
                return .entrypoint(worker: service, name: entrypoint, props: "")
            }
            return .service(worker: service)
        case "durable_object_namespace": return try object(item, of: worker)
        case "ratelimit": return .rateLimit(try rateLimit(item))
        case "analytics_engine":
            let dataset = try item.text("dataset")
            let isName = dataset.utf8.allSatisfy {
                $0 == 0x5F || (0x30...0x39).contains($0) || (0x61...0x7A).contains($0 | 0x20)
            }
            guard isName, dataset.utf8.count <= 96 else {
                throw ScriptError.invalid("binding \(item.name): a dataset's name has letters, digits and _")
            }
            return .analytics(dataset: dataset)
        case "version_metadata": return .versionMetadata
        case let type where Self.unserved.contains(type):
            throw ScriptError.invalid("binding \(item.name): this node serves no bindings of type \(type)")
        default: throw ScriptError.invalid("binding \(item.name) has the unknown type \"\(item.type.prefix(64))\"")
        }
    }

    /// A class that the upload's own migrations make isn't there yet: that is looked at when they are applied.
    private func object(_ item: Item, of worker: String) throws(ScriptError) -> WorkerDescription.Binding {
        let name = try item.text("class_name")
        guard name.utf8.count <= 255 else { throw .invalid("binding \(item.name): a class's name has at most 255 bytes") }
        let owner = item.json["script_name"]?.text.flatMap { $0.isEmpty || $0 == worker ? nil : $0 }
        return .object(class: name, worker: owner)
    }

    private func rateLimit(_ item: Item) throws(ScriptError) -> WorkerDescription.RateLimit {
        guard let namespace = item.json["namespace_id"].flatMap({ $0.text ?? $0.integer.map { "\($0)" } }), !namespace.isEmpty
        else { throw .invalid("binding \(item.name) of type ratelimit must have a valid `namespace_id` specified") }
        guard let limit = item.json["simple"]?["limit"]?.integer, (1...1_000_000_000).contains(limit) else {
            throw .invalid("binding \(item.name): simple.limit must be a positive integer")
        }
        guard let period = item.json["simple"]?["period"]?.integer, period == 10 || period == 60 else {
            throw .invalid("binding \(item.name): simple.period must be 10 or 60")
        }
        // What is named begins with a sign that no worker's name has.
        return .init(namespace: "=\(namespace)", limit: Int(limit), periodSeconds: Int(period))
    }
}
