internal import HTTP
internal import Host
package import Interfaces
internal import OpenSSL
internal import System
package import StoresR2

/// The host names under which everybody may read a tenant's buckets.
extension ReleaseRunner {
    /// The first label of the node's own name for a bucket: `pub-` and 32 hexadecimal digits, the same on every node.
    package nonisolated func publicLabel(of bucket: String) -> String { "pub-" + publicID(of: bucket) }

    package nonisolated func publicID(of bucket: String) -> String {
        Hexadecimal.text(Array(Digest.hash(Array("edge-bucket\u{0}\(tenant)\u{0}\(bucket)".utf8), with: .sha256).prefix(16)))
    }

    /// The node's own name for a bucket.
    package nonisolated func publicHost(of bucket: String) -> String { "\(publicLabel(of: bucket)).\(routing.bucketDomain)" }

    /// Makes or changes a domain of a bucket; durable and in service when it returns.
    ///
    /// - Parameter name: A host name; `nil` for the node's own.
    /// - Throws: `RoutePatternError` for what is no host; `RoutingConflict` when somebody else has it; `R2Failure`.
    package func setBucketDomain(
        _ name: String?, of bucket: String, _ edit: @escaping @Sendable (inout R2BucketDomain) -> Void
    ) async throws -> R2BucketDomain {
        guard let name else {
            let made = try await stores.r2.setDomain(publicLabel(of: bucket), of: bucket, isManaged: true, edit)
            try await publishBuckets()
            return made
        }
        let host = try CustomDomain(name, for: bucket).host
        guard host.contains("."), !host.hasSuffix(".\(routing.bucketDomain)"),
            !host.hasSuffix(".\(RoutingDirectory.localBuckets)")
        else {
            throw R2Failure.domain(.notYours(host))
        }
        try await routing.claim(host, tenant: tenant)
        do {
            let made = try await stores.r2.setDomain(host, of: bucket, edit)
            try await publishBuckets()
            await routing.endClaim(host)
            return made
        } catch {
            await routing.endClaim(host)
            throw error
        }
    }

    /// Forgets the domains of buckets that somebody else has, before others could start without them and find them taken.
    func dropForeignDomains() async throws(R2Failure) {
        for item in await routing.foreign(try stores.r2.domains(of: nil), tenant: tenant) {
            logger.log(
                .warning, "a domain is not taken over: it is somebody else's", [("bucket", item.bucket), ("domain", item.name)])
            try await stores.r2.removeDomain(item.name, of: item.bucket)
        }
    }

    /// Durable, and out of service, when it returns.
    package func removeBucketDomain(_ name: String, of bucket: String) async throws {
        try await stores.r2.removeDomain(name.lowercased(), of: bucket)
        try await publishBuckets()
    }

    /// Brings what is recorded of public buckets into service, but for names that somebody else has.
    package func publishBuckets() async throws(R2Failure) {
        let (domain, all) = (routing.bucketDomain, try stores.r2.domains(of: nil))
        let foreign = await routing.foreign(all, tenant: tenant)
        for item in foreign {
            logger.log(
                .warning, "a bucket has a domain that is somebody else's", [("bucket", item.bucket), ("domain", item.name)])
        }
        await routing.publish(all.filter { !foreign.contains($0) }, in: stores.r2, tenant: tenant) { bucket in
            guard bucket.isManaged else { return [bucket.name] }
            return Set([RoutingDirectory.localBuckets, domain]).map { "\(bucket.name).\($0)" }
        }
    }
}
