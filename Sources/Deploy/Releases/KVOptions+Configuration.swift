internal import Configuration
internal import StoresKV

extension EmbeddedKVStore.Options {
    init(_ settings: KVSettings) {
        self.init()
        limitsWriteRate = settings.limitsWriteRate
        pages = settings.hasShortPages ? .short : .full
        func limit(_ value: Int) -> Int? { value == 0 ? nil : value }
        quotas.tenantBytesMax = limit(settings.tenantBytesMax)
        quotas.namespaceBytesMax = limit(settings.namespaceBytesMax)
        quotas.readsPerDayMax = limit(settings.readsPerDayMax)
        quotas.putsPerDayMax = limit(settings.putsPerDayMax)
        quotas.deletesPerDayMax = limit(settings.deletesPerDayMax)
        quotas.listsPerDayMax = limit(settings.listsPerDayMax)
    }
}
