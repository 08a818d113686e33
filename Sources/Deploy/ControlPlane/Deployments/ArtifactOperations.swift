internal import Host
internal import Releases
internal import Stores
internal import System

/// What deployments are made of, brought before them and by content, so that what a node has isn't sent again: executables, and
/// bundles of all else.
enum ArtifactOperations {
    static func all(_ services: APIServices) -> [APIOperation] {
        let artifact = "/accounts/{account_id}/edge/artifacts/{sha256}"
        let bundle = "/accounts/{account_id}/edge/bundles/{sha256}"
        let schema = APISchema.object([.required("sha256", .string()), .required("size", .integer(0...Int64.max))])
        return [
            APIOperation(
                "GET", artifact, id: "edge.artifacts.get", "Whether the node has an executable of this account",
                .account(.workers, .read), result: .json(schema), isPolled: true
            ) { call in
                let hold = try await find(call, services)
                return .result(try await json(hold, services.accounts.runner(call)))
            },
            APIOperation(
                "GET", artifact + "/content", id: "edge.artifacts.content", "The executable itself", .account(.workers, .read),
                result: .raw(about: "The executable.")
            ) { call in
                let hold = try await find(call, services)
                let store = try services.accounts.runner(call).artifactStore
                let slice = try await store.disk.run { () throws(SystemError) -> FileSlice in try store.open(hold.hash) }
                return .raw(
                    LocalResponse(status: 200, headers: [("content-type", "application/octet-stream")], body: .file(slice)))
            },
            APIOperation(
                "PUT", artifact, id: "edge.artifacts.put",
                "Brings an executable, which is kept for an hour, or for as long as something is made of it",
                .account(.workers, .edit), body: .stream(about: "The executable."), result: .json(schema)
            ) { call in
                let hold = try await receive(call, services)
                return .result(try await json(hold, services.accounts.runner(call)))
            },
            APIOperation(
                "GET", bundle, id: "edge.bundles.get", "Whether the node has a bundle", .account(.workers, .read),
                result: .json(.object([.required("sha256", .string()), .required("artifacts", .map(.string()))]))
            ) { call in
                let hold = try await ownBundle(call, services)
                return .result(
                    .object(["sha256": .string(hold.bundle.hash), "artifacts": try await artifacts(hold, services)]))
            },
            APIOperation(
                "GET", bundle + "/archive", id: "edge.bundles.archive", "A bundle, as a tape archive", .account(.workers, .read),
                result: .raw(about: "A tar archive, as a deployment takes it.")
            ) { call in
                let hold = try await ownBundle(call, services)
                let body = try await services.releaseServices().bundles.archive(hold)
                return .raw(
                    LocalResponse(status: 200, headers: [("content-type", "application/x-tar")], body: .stream(body)))
            },
        ]
    }

    // MARK: Executables

    private static func hash(_ call: APICall) throws(APIError) -> String {
        let hash = call.parameters["sha256"] ?? ""
        let isHash =
            hash.utf8.count == 64 && hash.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
        guard isHash else { throw APIError(400, 10026, "sha256 must be 64 hexadecimal digits in lower case") }
        return hash
    }

    private static func json(_ hold: ArtifactStore.Hold, _ runner: ReleaseRunner) async throws -> JSON {
        let store = runner.artifactStore
        let size = await store.disk.run { FileTree.status(store.path(hold.hash))?.byteCount ?? 0 }
        return .object(["sha256": .string(hold.hash), "size": .integer(Int64(size))])
    }

    /// What this account has brought, or has a version of; kept for the hour to come.
    private static func find(_ call: APICall, _ services: APIServices) async throws -> ArtifactStore.Hold {
        let hash = try hash(call)
        guard let hold = try await find(hash, services, services.accounts.runner(call)) else {
            throw APIError(404, ReleaseFailure.unknown, "There is no executable \(hash)")
        }
        return hold
    }

    /// As above; `nil` when the account has neither.
    static func find(
        _ hash: String, _ services: APIServices, _ runner: ReleaseRunner
    ) async throws -> ArtifactStore.Hold? {
        let leases = try services.releaseServices().leases
        let store = runner.artifactStore
        let brought = leases.renew(hash, of: runner.tenant)
        if brought == nil, try await !runner.hasVersion(of: hash) { return nil }
        let hold = brought ?? store.hold(hash)
        guard try await store.disk.run({ () throws(SystemError) -> Bool in try store.verify(hash) }) else { return nil }
        leases.keep(hold, for: runner.tenant)
        return hold
    }

    private static func receive(_ call: APICall, _ services: APIServices) async throws -> ArtifactStore.Hold {
        let (hash, runner) = (try hash(call), try services.accounts.runner(call))
        let leases = try services.releaseServices().leases
        let upload = try await ArtifactUpload(to: runner.artifactStore)
        while let piece = try await call.nextPiece() {
            // All of it is read: a sender that is cut off hears no reason.
            guard upload.byteCount <= UploadForm.codeBytesMax else { continue }
            try await upload.write(piece)
        }
        guard upload.byteCount <= UploadForm.codeBytesMax else {
            throw APIError(413, 10027, "An executable has at most \(UploadForm.codeBytesMax) bytes")
        }
        guard upload.isELF else {
            throw APIError(400, 10021, "unsupported module type: an executable in the ELF format is needed")
        }
        guard upload.hash == hash else {
            throw APIError(
                400, ReleaseFailure.otherContent, "What was sent has the SHA-256 \(upload.hash), and was to have \(hash)")
        }
        let hold = try await upload.finish()
        leases.keep(hold, for: runner.tenant)
        return hold
    }

    // MARK: Bundles

    /// A bundle that a release of this account is made from.
    private static func ownBundle(_ call: APICall, _ services: APIServices) async throws -> BundleStore.Hold {
        let hash = try hash(call)
        guard let hold = try await bundle(hash, services, services.accounts.runner(call)) else {
            throw ReleaseFailure.of(.unknown(hash))
        }
        return hold
    }

    /// `nil`: there is none, or none of this account's releases is made from it.
    static func bundle(
        _ hash: String, _ services: APIServices, _ runner: ReleaseRunner
    ) async throws -> BundleStore.Hold? {
        guard let hold = try services.releaseServices().bundles.find(hash),
            try await runner.read({ store in try store.hasRelease(of: hash) })
        else { return nil }
        return hold
    }

    private static func artifacts(_ hold: BundleStore.Hold, _ services: APIServices) async throws -> JSON {
        let found = try await services.disk.run { () throws -> [String: String] in try hold.bundle.artifacts() }
        return .object(found.sorted { $0.key < $1.key }.map { JSON.Member(name: $0.key, value: .string($0.value)) })
    }
}
