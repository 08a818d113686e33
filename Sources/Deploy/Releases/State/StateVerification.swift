internal import Glibc
internal import Interfaces
internal import StoresAnalytics
internal import StoresCache
internal import StoresD1
internal import StoresKV
internal import StoresQueues
internal import StoresR2
internal import System

/// What `edge state verify` has found in one tenant's stores.
package struct StateVerification: Sendable {
    package struct Finding: Equatable, Sendable {
        package let store: String
        /// A namespace, a database, an object, a file.
        package let piece: String
        package let problem: String
        package let advice: String
        package let isRepaired: Bool
    }
    package private(set) var findings: [Finding] = []
    /// More than are listed.
    package private(set) var findingCount = 0
    /// What was looked at, by store.
    package private(set) var checked: [(store: String, what: String)] = []

    package var isSound: Bool { findingCount == 0 }

    static let findingsMax = 1000

    mutating func note(_ store: String, _ what: String) { checked.append((store, what)) }

    mutating func add(_ store: String, _ piece: String, _ problem: String, _ advice: String, isRepaired: Bool = false) {
        if !isRepaired { findingCount += 1 }
        guard findings.count < Self.findingsMax else { return }
        findings.append(Finding(store: store, piece: piece, problem: problem, advice: advice, isRepaired: isRepaired))
    }

    /// What is wrong with the database of the node itself.
    package mutating func addControl(_ problems: [String]) {
        note("control", "secrets, tokens, tenants")
        for problem in problems {
            add("control", "control.sqlite", problem, "stop the node, and put a copy of control.sqlite back")
        }
    }

    /// Of those that are counted and not listed.
    mutating func addUnlisted(_ count: Int) { findingCount += max(0, count) }
}

/// How a store is looked at.
package struct VerificationDemand: Sendable {
    /// Also the bytes of objects, against their checksums: reads everything.
    package let comparesChecksums: Bool
    /// Mends what loses nothing.
    package let repairs: Bool

    package init(comparesChecksums: Bool, repairs: Bool) {
        self.comparesChecksums = comparesChecksums
        self.repairs = repairs
    }
}

extension ReleaseRunner {
    /// Looks for torn and missing pieces of every store. Everything goes on meanwhile.
    package func verify(_ demand: VerificationDemand) async throws -> StateVerification {
        var report = StateVerification()
        let stores = stores
        try await stores.verifyKV(demand, &report)
        try await stores.verifyD1(&report)
        try await stores.verifyR2(demand, &report)
        try await stores.verifyQueues(&report)
        let analytics = await stores.analytics.verify()
        report.note("analytics", "\(try await stores.analytics.parts().count) files")
        for problem in analytics {
            report.add(
                "analytics", "", problem, "the records before the damage are still read; import an export for the others")
        }
        await stores.verifyCache(&report)
        verifyCode(&report)
        return report
    }

    /// The executables that the tenant's release runs from.
    private func verifyCode(_ report: inout StateVerification) {
        let hashes = (current?.artifacts ?? []).sorted()
        report.note("artifacts", "\(hashes.count) executables")
        for hash in hashes {
            do throws(SystemError) {
                if try !artifacts.verifyAnew(hash) {
                    report.add("artifacts", hash, "its bytes are not those that were stored", "deploy the worker again")
                }
            } catch { report.add("artifacts", hash, "\(error)", "deploy the worker again") }
        }
    }
}

extension TenantStores {
    private static let restoreAdvice = "write it anew, or import an export that has it"

    fileprivate func verifyKV(_ demand: VerificationDemand, _ report: inout StateVerification) async throws {
        let before = try await kv.verify()
        let result = demand.repairs && !before.isClean ? try await kv.repair() : before
        report.note("kv", "\(result.namespaceCount) namespaces, \(result.keyCount) keys")
        for finding in result.findings {
            report.add(
                "kv", finding.namespace, "\(finding.kind.rawValue): \(finding.detail)",
                finding.isRepairable ? "--repair mends it" : Self.restoreAdvice)
        }
        report.addUnlisted(result.findingCount - result.findings.count)
        let left = Set(result.findings.map(\.description))
        for finding in before.findings where demand.repairs && !left.contains(finding.description) {
            report.add("kv", finding.namespace, "\(finding.kind.rawValue): \(finding.detail)", "mended", isRepaired: true)
        }
    }

    fileprivate func verifyD1(_ report: inout StateVerification) async throws {
        let databases = try d1.databasesOnDisk()
        report.note("d1", "\(databases.count) databases")
        for database in databases {
            do throws(D1Failure) {
                for problem in try await d1.verify(database) {
                    report.add("d1", database, problem, "restore it to a time before (time travel), or import an export")
                }
            } catch { report.add("d1", database, error.text, "restore it to a time before (time travel), or import an export") }
        }
    }

    fileprivate func verifyR2(_ demand: VerificationDemand, _ report: inout StateVerification) async throws {
        let found = try await r2.verify(
            demand.comparesChecksums ? .checksums : .sizes, repairing: demand.repairs ? .leftovers : .none)
        report.note("r2", "\(found.objectCount) objects, \(found.partCount) parts, \(found.fileCount) files")
        for damage in found.damage {
            let isRepaired = demand.repairs && damage.isRepairable
            report.add(
                "r2", damage.piece, "\(damage)",
                isRepaired ? "mended" : damage.isRepairable ? "--repair mends it" : "upload it again, or import an export",
                isRepaired: isRepaired)
        }
        report.addUnlisted(found.damageCount - found.damage.count)
    }

    fileprivate func verifyQueues(_ report: inout StateVerification) async throws {
        report.note("queues", "\(try queues.queues().count) queues")
        for problem in try await queues.verify() {
            report.add("queues", "", problem, "drain and purge the queue, or import an export")
        }
    }
}

extension TenantStores {
    /// A cache removes what is damaged: it is asked for again.
    fileprivate func verifyCache(_ report: inout StateVerification) async {
        guard let cache = cache as? EmbeddedResponseCache else { return }
        let found = await cache.verify()
        report.note("cache", "\(found.entries) responses")
        if found.damaged > 0 {
            report.add("cache", "\(found.damaged) responses", "they were damaged or gone", "removed", isRepaired: true)
        }
        if found.orphans > 0 {
            report.add("cache", "\(found.orphans) files", "they belonged to nothing", "removed", isRepaired: true)
        }
    }
}

extension R2Damage {
    /// What is damaged, as users know it.
    fileprivate var piece: String {
        switch self {
        case .missingFile(let place, _), .wrongSize(let place, _, _, _), .wrongChecksum(let place), .missingContent(let place),
            .sharedBlob(let place, _), .unmarkedBlob(let place, _):
            "\(place)"
        case .unreadableRecord(let what): what
        case .orphanedFile(let blob), .temporaryFile(let blob), .strayMark(let blob): "blob \(blob)"
        case .strayContent(let version): "version \(version)"
        case .strayPart(let upload, let number): "part \(number) of upload \(upload)"
        case .wrongUsage(let bucket): bucket.map { "bucket \($0)" } ?? "all buckets"
        }
    }
}
