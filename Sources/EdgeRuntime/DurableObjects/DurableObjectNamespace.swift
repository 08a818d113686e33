public import Workers

extension Env {
    /// The objects of one class.
    ///
    /// - Throws: `BindingError` when no namespace is bound under `name`.
    public func durableObjects(_ name: String) throws -> DurableObjectNamespace {
        let caller = try objectCaller(name)
        return DurableObjectNamespace(caller, DurableObjectKey(caller.key), jurisdiction: nil)
    }
}

/// All objects of one class, those that don't exist yet included.
public struct DurableObjectNamespace: Sendable {
    private let caller: ObjectCaller
    private let key: DurableObjectKey
    private let jurisdiction: Jurisdiction?

    init(_ caller: ObjectCaller, _ key: DurableObjectKey, jurisdiction: Jurisdiction?) {
        self.caller = caller
        self.key = key
        self.jurisdiction = jurisdiction
    }

    /// Where objects may be. Ids of one jurisdiction are not those of another.
    public enum Jurisdiction: String, CaseIterable, Sendable {
        case eu, fedramp
    }

    /// A wish, for the object's first call, of where it should be. A single node has one place: it is ignored.
    public enum LocationHint: String, CaseIterable, Sendable {
        case wnam, enam, sam, weur, eeur, apac, oc, afr, me
    }

    /// The id that belongs to a name, the same one for ever.
    public func idFromName(_ name: String) -> DurableObjectID { key.id(name: name) }

    /// An id that nobody has had.
    public func newUniqueId(jurisdiction: Jurisdiction? = nil) -> DurableObjectID {
        (jurisdiction.map { key.key(in: $0.rawValue) } ?? key).uniqueID()
    }

    /// The id that was printed so.
    ///
    /// - Throws: `DurableObjectError` for text that is no id of this namespace.
    public func idFromString(_ text: String) throws -> DurableObjectID {
        let keys = jurisdiction == nil ? [key] + Jurisdiction.allCases.map { key.key(in: $0.rawValue) } : [key]
        for other in keys.dropLast() { if let id = try? other.id(text: text) { return id } }
        return try keys[keys.count - 1].id(text: text)
    }

    /// The part of the namespace whose objects are in a jurisdiction.
    public func jurisdiction(_ jurisdiction: Jurisdiction) -> DurableObjectNamespace {
        DurableObjectNamespace(caller, key.key(in: jurisdiction.rawValue), jurisdiction: jurisdiction)
    }

    /// The object of an id. Nothing is sent: the object comes to be with the first call.
    ///
    /// - Throws: `DurableObjectError` for an id of another jurisdiction, or of another namespace.
    public func get(_ id: DurableObjectID, locationHint: LocationHint? = nil) throws -> DurableObjectStub {
        do { _ = try idFromString(id.description) } catch {
            guard jurisdiction != nil else { throw error }
            throw DurableObjectError(
                "get called on jurisdictional subnamespace with an ID from a different jurisdiction")
        }
        return DurableObjectStub(id, caller)
    }

    /// The object of a name.
    public func getByName(_ name: String, locationHint: LocationHint? = nil) -> DurableObjectStub {
        DurableObjectStub(idFromName(name), caller)
    }
}
