package import Configuration

/// What a tenant's D1 databases may take.
package struct DatabaseQuota: Sendable, Equatable {
    package var countMax: Int
    package var byteCountMax: Int64
    package var totalByteCountMax: Int64

    package init(_ plan: PlatformLimits) {
        countMax = plan.d1CountMax
        byteCountMax = plan.d1ByteCountMax
        totalByteCountMax = plan.d1TotalByteCountMax
    }

    /// Where no configuration speaks of a plan.
    package static let standard = DatabaseQuota(LimitProfile.paid.table)
}
