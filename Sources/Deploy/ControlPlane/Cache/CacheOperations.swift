internal import Caching
internal import HTTP
internal import Releases
internal import Stores

/// Purging a zone's cache, and what it has done (https://developers.cloudflare.com/api/resources/cache/methods/purge/).
enum CacheOperations {
    static func all(_ services: APIServices) -> [APIOperation] {
        let texts = APISchema.nullable(.array(.string()))
        let file = APISchema.object([.required("url", .string()), .optional("headers", .nullable(.map(.string())))])
        let statistics = APISchema.object([
            .required("zone_id", .string()), .required("zone_name", .string()), .required("answers", .map(.integer())),
            .required("entries", .integer()), .required("bytes", .integer()), .required("evictions", .integer()),
        ])
        return [
            APIOperation(
                "POST", "/zones/{zone_id}/purge_cache", id: "cache.purge", "Removes responses from a zone's cache, at once",
                .zone(.cache, .edit),
                body: .json(
                    .object([
                        .optional("purge_everything", .nullable(.bool)),
                        .optional("files", .nullable(.array(.either([.string(), file])))), .optional("tags", texts),
                        .optional("hosts", texts), .optional("prefixes", texts),
                    ])),
                // What is gone doesn't go twice.
                result: .json(.object([.required("id", .string())])), isIdempotent: true
            ) { call in
                let runner = try services.accounts.runner(call)
                var purge = try CachePurge(request: call.json)
                purge.zone = call.zone
                _ = await runner.cache.purge(purge)
                return .result(.object(["id": .string(ZoneOperations.id(of: runner, call.zone))]))
            },
            APIOperation(
                "GET", "/zones/{zone_id}/cache/statistics", id: "cache.statistics.list",
                "What a zone's cache has done since the node started, and what it has", .zone(.cache, .read),
                result: .json(.array(statistics))
            ) { call in
                let runner = try services.accounts.runner(call)
                let zones = runner.cache.statistics.filter { call.zone == nil || $0.zone == call.zone }
                return .result(.array(zones.map { json($0, of: runner.tenant) }))
            },
        ]
    }

    private static func json(_ zone: CacheStatistics, of tenant: String) -> JSON {
        let answers = zone.answers.sorted { $0.key.rawValue < $1.key.rawValue }
        return .object([
            "zone_id": .string(Accounts.id(ofZone: zone.zone, of: tenant)), "zone_name": .string(zone.zone),
            "answers": .object(answers.map { JSON.Member(name: $0.key.rawValue, value: .integer(Int64($0.value))) }),
            "entries": .integer(Int64(zone.entries)), "bytes": .integer(zone.byteCount),
            "evictions": .integer(Int64(zone.evictions)),
        ])
    }
}

extension CachePurge {
    /// What a request asks for.
    fileprivate init(request: JSON) throws(APIError) {
        self.init()
        func texts(_ name: String) -> [String] { (request[name]?.items ?? []).compactMap(\.text) }
        everything = request["purge_everything"]?.bool ?? false
        for file in request["files"]?.items ?? [] {
            // Alone, or with the headers that a variant depends on: all variants go.
            let text = file.text ?? file["url"]?.text ?? ""
            guard let url = WebURL(text), url.scheme == "http" || url.scheme == "https" else {
                throw APIError(400, 1016, "Unable to purge \(text), which is an invalid URL.")
            }
            urls.insert(CacheKey.text(url))
        }
        tags = Set(texts("tags").map { $0.lowercased() })
        hosts = Set(texts("hosts").map { $0.lowercased() })
        for prefix in texts("prefixes") {
            // Compared with URLs, so written as one.
            guard !prefix.contains("://"), let url = WebURL("http://" + prefix), url.query == nil else {
                throw APIError(400, 1017, "Unable to purge \(prefix), which is an invalid prefix.")
            }
            prefixes.append(url.host + (prefix.contains("/") ? url.path : ""))
        }
        guard self != CachePurge() else {
            throw APIError(
                400, 1012, #"Request must contain one of "purge_everything", "files", "tags", "hosts" or "prefixes""#)
        }
    }
}
