internal import Releases

/// The rate limits that a tenant's workers bind. Their counters live as long as their periods, in the node's memory: there is
/// nothing to change about them but the configuration.
enum RateLimitOperations {
    static func all(_ services: APIServices) -> [APIOperation] {
        let namespace = APISchema.object([
            .required("namespace_id", .string()), .required("limit", .integer()), .required("period", .integer()),
            .required("workers", .array(.string())),
        ])
        return [
            APIOperation(
                "GET", "/accounts/{account_id}/workers/ratelimits", id: "workers.ratelimits.list",
                "The rate limit namespaces that workers of the active release bind", .account(.workers, .read),
                result: .json(.array(namespace))
            ) { call in
                let release = await (try services.accounts.runner(call)).active
                let list = namespaces(release?.description.workers ?? []).map(json)
                return Page(list, call, sizeDefault: max(1, list.count)).reply { $0 }
            }
        ]
    }

    private struct Namespace {
        let limit: WorkerDescription.RateLimit
        var workers: [String]
    }

    /// Workers that name one namespace share its counters; what they allow may differ.
    private static func namespaces(_ workers: [WorkerDescription]) -> [Namespace] {
        var found: [Namespace] = []
        for worker in workers.sorted(by: { $0.name < $1.name }) {
            for case .rateLimit(let limit) in worker.bindings.map(\.binding) {
                let place = found.firstIndex { known in
                    known.limit.namespace == limit.namespace && known.limit.limit == limit.limit
                        && known.limit.periodSeconds == limit.periodSeconds
                }
                if let place {
                    if found[place].workers.last != worker.name { found[place].workers.append(worker.name) }
                } else {
                    found.append(Namespace(limit: limit, workers: [worker.name]))
                }
            }
        }
        return found.sorted {
            ($0.limit.namespace, $0.limit.periodSeconds, $0.limit.limit)
                < ($1.limit.namespace, $1.limit.periodSeconds, $1.limit.limit)
        }
    }

    /// Named ones have a sign in front, so that no worker's own meets them.
    private static func shown(_ namespace: String) -> String {
        namespace.hasPrefix("=") ? String(namespace.dropFirst()) : namespace
    }

    private static func json(_ namespace: Namespace) -> JSON {
        .object([
            "namespace_id": .string(shown(namespace.limit.namespace)), "limit": .integer(Int64(namespace.limit.limit)),
            "period": .integer(Int64(namespace.limit.periodSeconds)), "workers": .strings(namespace.workers),
        ])
    }
}
