/// The objects of one class of one tenant: what a binding names. Its id and key never change; a class that is renamed keeps them.
package final class ObjectNamespace: Sendable {
    /// 32 hexadecimal digits: also the name of the directory with its objects' files.
    package let id: String
    /// 32 bytes, from which ids are made.
    package let key: [UInt8]
    /// Who defines the class, and the class, for people.
    package let worker: String
    package let className: String
    package let hasSQL: Bool
    package let space: ObjectSpace

    package init(id: String, key: [UInt8], worker: String, className: String, hasSQL: Bool, space: ObjectSpace) {
        self.id = id
        self.key = key
        self.worker = worker
        self.className = className
        self.hasSQL = hasSQL
        self.space = space
    }
}

/// A version whose isolates get objects of a namespace.
package struct ObjectServer: Sendable {
    /// The version, with a pool of isolates for objects (`Node.makeObjectPool`): not the one that answers requests.
    package let worker: WorkerRuntime
    /// Where the objects' own calls go.
    package let release: ReleaseRuntime
    /// The class by the name that this version has for it.
    package let className: String
    /// How many of 10,000 points of ids.
    package let share: Int

    package init(worker: WorkerRuntime, release: ReleaseRuntime, className: String, share: Int = 10_000) {
        self.worker = worker
        self.release = release
        self.className = className
        self.share = share
    }
}
