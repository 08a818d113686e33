internal import Caching
internal import FoundationEssentials
internal import HTTP
internal import Host
internal import Releases
internal import Stores

/// `POST /client/v4/zones/{id}/purge_cache`, where `id` names a tenant, for all its zones, or one zone
/// (https://developers.cloudflare.com/api/resources/cache/methods/purge/).
enum PurgeRequest {
    /// The zone that the path names; `nil` for another path.
    static func zone(_ path: String) -> String? {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 6, parts[0].isEmpty, parts[1] == "client", parts[2] == "v4", parts[3] == "zones",
            parts[5] == "purge_cache"
        else { return nil }
        return String(parts[4])
    }

    static func answer(_ request: LocalRequest, zone: String, _ runners: [ReleaseRunner]) async -> LocalResponse {
        guard request.method == "POST" else { return failure(10405, "Method not allowed for this authentication scheme", 405) }
        for runner in runners {
            guard let description = await runner.active?.description else { continue }
            let isTenant = description.tenant == zone
            guard isTenant || description.workers.contains(where: { $0.zones.contains(zone) }) else { continue }
            var purge: CachePurge
            do throws(Flaw) {
                purge = try Body(await read(request)).purge()
            } catch { return failure(error.code, error.message, 400) }
            if !isTenant { purge.zone = zone }
            _ = await runner.cache.purge(purge)
            return .json(
                #"{"success":true,"errors":[],"messages":[],"result":{"id":"# + quoted(zone) + "}}\n")
        }
        return failure(
            7003, "Could not route to \(request.path), perhaps your object identifier is invalid?", 404)
    }

    struct Flaw: Error {
        var code: Int
        var message: String
    }

    private static let bodyBytesMax = 1 << 20

    private static func read(_ request: LocalRequest) async throws(Flaw) -> [UInt8] {
        var bytes: [UInt8] = []
        do {
            while let piece = try await request.body?.next() {
                bytes += piece
                guard bytes.count <= bodyBytesMax else { throw Flaw(code: 1015, message: "The request is too large") }
            }
        } catch let flaw as Flaw {
            request.body?.cancel()
            throw flaw
        } catch { throw Flaw(code: 6007, message: "The request ended early") }
        return bytes
    }

    private static func failure(_ code: Int, _ message: String, _ status: Int) -> LocalResponse {
        .json(
            #"{"success":false,"errors":[{"code":"# + "\(code)" + #","message":"# + quoted(message)
                + #"}],"messages":[],"result":null}"# + "\n", status: status)
    }

    private static func quoted(_ text: String) -> String {
        guard let data = try? JSONEncoder().encode(text) else { return "\"\"" }
        return String(decoding: data, as: UTF8.self)
    }

    /// What the request asks for.
    struct Body {
        private struct Parts: Decodable {
            var purge_everything: Bool?
            var files: [File]?
            var tags: [String]?
            var hosts: [String]?
            var prefixes: [String]?
        }

        /// A URL, alone or with the headers that a variant depends on: all variants go.
        private struct File: Decodable {
            var url: String

            private enum CodingKeys: String, CodingKey { case url }

            init(from decoder: any Decoder) throws {
                if let text = try? decoder.singleValueContainer().decode(String.self) {
                    url = text
                } else {
                    url = try decoder.container(keyedBy: CodingKeys.self).decode(String.self, forKey: .url)
                }
            }
        }
        private let parts: Parts

        init(_ bytes: [UInt8]) throws(Flaw) {
            do { parts = try JSONDecoder().decode(Parts.self, from: Data(bytes)) } catch {
                throw Flaw(code: 6007, message: "Malformed JSON in request body")
            }
        }

        func purge() throws(Flaw) -> CachePurge {
            var purge = CachePurge()
            purge.everything = parts.purge_everything ?? false
            for file in parts.files ?? [] {
                guard let url = WebURL(file.url), url.scheme == "http" || url.scheme == "https" else {
                    throw Flaw(code: 1016, message: "Unable to purge \(file.url), which is an invalid URL.")
                }
                purge.urls.insert(CacheKey.text(url))
            }
            purge.tags = Set((parts.tags ?? []).map { $0.lowercased() })
            purge.hosts = Set((parts.hosts ?? []).map { $0.lowercased() })
            for prefix in parts.prefixes ?? [] {
                // Compared with URLs, so written as one.
                guard !prefix.contains("://"), let url = WebURL("http://" + prefix), url.query == nil else {
                    throw Flaw(code: 1017, message: "Unable to purge \(prefix), which is an invalid prefix.")
                }
                purge.prefixes.append(url.host + (prefix.contains("/") ? url.path : ""))
            }
            guard purge != CachePurge() else {
                throw Flaw(
                    code: 1012,
                    message: #"Request must contain one of "purge_everything", "files", "tags", "hosts" or "prefixes""#)
            }
            return purge
        }
    }
}
