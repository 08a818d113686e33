internal import Stores

extension TenantStores {
    /// What a query about data points says first: a metric of the operator's own. `nil`: it has no row.
    package func firstValue(of query: String) async throws(DeploymentFailure) -> Double? {
        let body: [UInt8]
        do { body = try await analytics.query(query + "\nFORMAT TabSeparated").body } catch {
            throw DeploymentFailure("\(error)")
        }
        let value = String(decoding: body.prefix { $0 != 0x0A && $0 != 0x09 }, as: UTF8.self)
        guard !value.isEmpty, value != "\\N" else { return nil }
        guard let number = Double(value) else { throw DeploymentFailure("its first value is \"\(value)\", which is no number") }
        return number
    }
}
