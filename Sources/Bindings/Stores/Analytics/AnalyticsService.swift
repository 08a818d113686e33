package import Interfaces
package import Stores
internal import Wire

/// A dataset as one binding sees it: it takes points, and answers nothing.
package struct AnalyticsService: StoreService {
    private let store: EmbeddedAnalyticsStore
    private let dataset: String

    package init(_ store: EmbeddedAnalyticsStore, dataset: String) {
        self.store = store
        self.dataset = dataset
    }

    package func answer(_ call: StoreCall) async throws(CallFailure) -> StoreReply {
        guard let reply = try answerInPlace(call) else { throw Self.unknown(call.kind) }
        return reply
    }

    package func answerInPlace(_ call: StoreCall) throws(CallFailure) -> StoreReply? {
        guard call.kind == .analyticsWrite else { throw Self.unknown(call.kind) }
        var decoder = WireDecoder(call.message)
        let point: AnalyticsPoint
        do throws(WireError) { point = try AnalyticsPoint(decoding: &decoder) } catch { throw .malformedCall(error) }
        // The SDK has looked: only what isn't built with it sends such a point.
        guard AnalyticsLimits.problem(of: point) == nil else {
            throw .malformedCall(.invalidValue("data point", offset: 0))
        }
        store.write(point, to: dataset)
        return StoreReply(message: [])
    }

    private static func unknown(_ kind: CallKind) -> CallFailure {
        CallFailure("an analytics dataset has no call of kind \(kind.rawValue)", name: "TypeError")
    }
}
