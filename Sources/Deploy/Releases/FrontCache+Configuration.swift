internal import Configuration
internal import Host

extension FrontCache {
    /// `nil` when the cache is not enabled.
    init?(_ settings: CacheSettings) {
        guard settings.isEnabled else { return nil }
        self.init(
            timeToLive: settings.timeToLive.components.seconds, isSharedByVersions: settings.isSharedByVersions,
            rules: settings.rules.map { rule in
                Rule(path: rule.path, timeToLive: rule.timeToLive?.components.seconds, bypasses: rule.bypasses)
            })
    }
}
