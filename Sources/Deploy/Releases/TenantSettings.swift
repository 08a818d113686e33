package import Configuration
internal import FoundationEssentials

/// What a tenant may have that was made over the API. What isn't said is as its plan has it; 0 is without a limit.
package struct TenantSettings: Codable, Equatable, Sendable {
    package var plan = LimitProfile.paid.rawValue
    package var kvBytesMax: Int?
    package var kvNamespaceBytesMax: Int?
    package var kvReadsPerDayMax: Int?
    package var kvPutsPerDayMax: Int?
    package var kvDeletesPerDayMax: Int?
    package var kvListsPerDayMax: Int?
    package var cacheBytesMax: Int?
    /// How far back databases can go.
    package var timeTravelSeconds: Int?

    package static let plans = LimitProfile.allCases.map(\.rawValue)

    package init() {}

    init(json: String) throws { self = try JSONDecoder().decode(Self.self, from: Data(json.utf8)) }

    var json: String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        // Numbers and texts always encode.
        return (try? encoder.encode(self)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
    }

    package var stores: StoreSettings {
        var stores = StoreSettings()
        stores.plan = (LimitProfile(rawValue: plan) ?? .paid).table
        stores.kv.tenantBytesMax = kvBytesMax ?? 0
        stores.kv.namespaceBytesMax = kvNamespaceBytesMax ?? 0
        stores.kv.readsPerDayMax = kvReadsPerDayMax ?? 0
        stores.kv.putsPerDayMax = kvPutsPerDayMax ?? 0
        stores.kv.deletesPerDayMax = kvDeletesPerDayMax ?? 0
        stores.kv.listsPerDayMax = kvListsPerDayMax ?? 0
        if let cacheBytesMax { stores.cache.diskBytesMax = cacheBytesMax }
        stores.timeTravel = .seconds(timeTravelSeconds ?? 0)
        return stores
    }
}
