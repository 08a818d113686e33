internal import Releases

/// What an upload says of a worker, read and checked against what the account has.
struct UploadMetadata: Sendable {
    let json: JSON
    let bindings: UploadBindings
    /// Of the classes of durable objects; `nil`: none.
    let migrations: ClassMigrationUpload?
    /// Whether an inherited binding that isn't there is a mistake.
    let isStrict: Bool

    init(_ json: JSON, isStrict: Bool) throws(ScriptError) {
        self.json = json
        self.isStrict = isStrict
        bindings = try UploadBindings(json["bindings"])
        migrations = try UploadMigrations.read(json["migrations"])
        if let assets = json["assets"], assets != .null, assets.members?.isEmpty != true {
            throw .invalid("this node serves no assets that are uploaded over the API")
        }
        if let flags = json["compatibility_flags"], flags != .null {
            guard let items = flags.items, items.allSatisfy({ $0.text != nil }) else {
                throw .invalid("compatibility_flags must be an array of strings")
            }
        }
        if let date = json["compatibility_date"], date != .null {
            guard let text = date.text, text.isEmpty || Self.isDate(text) else {
                throw .invalid("compatibility_date must be a date such as 2026-08-01")
            }
        }
    }

    private static func isDate(_ text: String) -> Bool {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.map(\.utf8.count) == [4, 2, 2], let month = Int(parts[1]), let day = Int(parts[2]), Int(parts[0]) != nil
        else { return false }
        return (1...12).contains(month) && (1...31).contains(day)
    }

    /// What the version is made of.
    ///
    /// - Parameters:
    ///   - base: the newest version, whose bindings can be kept.
    ///   - isPatch: whether what isn't named stays as it is in `base`.
    func content(
        of worker: String, _ base: ScriptVersion?, mainModule: String?, isPatch: Bool, _ runner: ReleaseRunner
    ) async throws -> VersionDraft.Content {
        let kept = isPatch ? base?.snapshot ?? VersionSnapshot() : VersionSnapshot()
        guard !isPatch || json["bindings"]?.items != nil else {
            return try content(kept, secrets: [], base, mainModule: mainModule, isPatch: isPatch)
        }
        let bound = try await bind(kept, of: worker, base, runner)
        return try content(bound.snapshot, secrets: bound.secrets, base, mainModule: mainModule, isPatch: isPatch)
    }

    private struct Bound {
        var snapshot: VersionSnapshot
        var secrets: [(name: String, value: String)] = []
    }

    /// Puts the bindings that the upload names, and those of `base` that it keeps, into the place of those of `snapshot`.
    private func bind(
        _ snapshot: VersionSnapshot, of worker: String, _ base: ScriptVersion?, _ runner: ReleaseRunner
    ) async throws -> Bound {
        var bound = Bound(snapshot: snapshot)
        bound.snapshot.bindings = []
        bound.snapshot.variables = []
        bound.snapshot.secrets = []
        try await bindings.add(to: &bound.snapshot, &bound.secrets, base, of: worker, isStrict: isStrict, runner)
        let types = json["keep_bindings"]?.items?.compactMap(\.text) ?? []
        UploadBindings.keep(types, of: base, in: &bound.snapshot, except: Set(bound.secrets.map(\.name)))
        return bound
    }

    private func content(
        _ bound: VersionSnapshot, secrets: [(name: String, value: String)], _ base: ScriptVersion?, mainModule: String?,
        isPatch: Bool
    ) throws(ScriptError) -> VersionDraft.Content {
        var snapshot = bound
        if let mainModule {
            snapshot.mainModule = mainModule
        } else if let base {
            snapshot.mainModule = base.snapshot.mainModule
        }
        if let date = json["compatibility_date"]?.text { snapshot.compatibilityDate = date }
        if let flags = json["compatibility_flags"]?.items { snapshot.compatibilityFlags = flags.compactMap(\.text) }
        if let tag = json["annotations"]?["workers/tag"]?.text { snapshot.tag = tag } else { snapshot.tag = "" }
        try setLimits(&snapshot)
        var settings = isPatch ? JSON(Array(snapshot.settings.utf8))?.members ?? [] : []
        for name in ["usage_model", "placement", "limits"] {
            guard let value = json[name] else { continue }
            settings.removeAll { $0.name == name }
            if value != .null { settings.append(.init(name: name, value: value)) }
        }
        snapshot.settings = String(decoding: JSON.object(settings).bytes, as: UTF8.self)
        return VersionDraft.Content(snapshot, secrets: secrets)
    }

    private func setLimits(_ snapshot: inout VersionSnapshot) throws(ScriptError) {
        guard let limits = json["limits"], limits != .null else { return }
        if let value = limits["cpu_ms"], value != .null {
            guard let milliseconds = value.integer, (1...300_000).contains(milliseconds) else {
                throw .invalid("limits.cpu_ms must be an integer from 1 to 300000")
            }
            snapshot.setCPULimit(.milliseconds(milliseconds))
        }
        if let value = limits["subrequests"], value != .null {
            guard let count = value.integer, (1...10_000_000).contains(count) else {
                throw .invalid("limits.subrequests must be an integer from 1 to 10000000")
            }
            snapshot.setSubrequestsMax(Int(count))
        }
    }

    /// Settings of the worker itself that the upload names, put over those that it has.
    static func settings(_ json: JSON, over present: String) -> String? {
        var members = JSON(Array(present.utf8))?.members ?? []
        var isChanged = false
        for name in ["tags", "logpush", "tail_consumers", "observability"] {
            guard let value = json[name] else { continue }
            members.removeAll { $0.name == name }
            if value != .null { members.append(.init(name: name, value: value)) }
            isChanged = true
        }
        return isChanged ? String(decoding: JSON.object(members).bytes, as: UTF8.self) : nil
    }

    static let settingsSchema: [APISchema.Field] = [
        .optional("tags", .nullable(.array(.string(1...1024), 0...100))), .optional("logpush", .nullable(.bool)),
        .optional("tail_consumers", .nullable(.array(.object([.required("service", .string(1...63))]), 0...10))),
        .optional(
            "observability",
            .nullable(.object([.required("enabled", .bool), .optional("head_sampling_rate", .nullable(.number))]))),
    ]

    /// - Throws: when settings of the worker itself have another shape than they may.
    func checkSettings() throws(ScriptError) {
        do throws(APISchema.Mismatch) { try APISchema.object(Self.settingsSchema).check(json) } catch {
            throw .invalid("\(error.pointer) must be \(error.expected)")
        }
    }
}
