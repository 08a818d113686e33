/// What a stream is for: the first two bytes of the `open` frame that starts it.
package enum CallKind: UInt16, Sendable {
    // From the node to the isolate: events.
    /// The first call on an isolate's first channel: what it is, what it may use. See `Workers`.
    case configure = 1
    case fetch = 2
    case scheduled = 3
    case queue = 4
    /// An empty call with an empty reply: is the loop turning?
    case health = 5
    /// Finish what is open, then exit.
    case shutdown = 6
    /// A typed call of a worker's entrypoint: an `RPCMessage`.
    case rpc = 7
    /// A durable object: see `Interfaces/Objects`.
    case objectOpen = 8
    case objectFetch, objectCall, objectAlarm, objectSocket, objectClose
    /// A request to a worker's entrypoint: an `EntrypointHead`, then a fetch message.
    case entrypointFetch = 15

    // From the isolate to the node.
    case log = 32
    /// A request to another worker of the same release, or to the outside.
    case subrequest = 33
    /// Work under `waitUntil` that goes on after the response; open as long as the work is.
    case waitUntil = 34
    /// A typed call to another worker of the same release: an `RPCMessage`.
    case serviceInvoke = 35
    /// A request to an object, or a typed call of it, behind an `ObjectCallHead`.
    case objectRequest = 36
    case objectInvoke
    case objectAlarmTime, objectAbort
    /// What an object does with its hibernating WebSockets.
    case socketSend, socketClose, socketAttachment, socketAutoResponse

    case kvGet = 64
    case kvPut, kvDelete, kvList, kvGetMany
    case d1Query = 80
    case r2Head = 96
    case r2Get, r2Put, r2Delete, r2List, r2CreateMultipart, r2UploadPart, r2CompleteMultipart,
        r2AbortMultipart, r2Copy, r2ListMultipartUploads, r2ListParts
    case queueSend = 128
    case queueMetrics
    case rateLimit = 144
    /// A data point: it goes one way, nothing comes back.
    case analyticsWrite = 160

    /// The caches are nobody's binding: these have none.
    case cachePut = 176
    case cacheMatch, cacheDelete

    /// Whether nobody waits for an answer: the call is a single frame, and none goes back.
    package var isOneWay: Bool {
        switch self {
        case .analyticsWrite, .objectAbort, .socketSend, .socketClose, .socketAttachment, .socketAutoResponse: true
        default: false
        }
    }

    package var isEventOfObject: Bool { rawValue >= Self.objectOpen.rawValue && rawValue <= Self.objectClose.rawValue }
    /// Whether an isolate says it of an object that it has, or of a WebSocket of one.
    package var isOfObject: Bool { rawValue >= Self.objectAlarmTime.rawValue && rawValue <= Self.socketAutoResponse.rawValue }

    /// Whether the tenant's cache answers it.
    package var isForCache: Bool { self == .cachePut || self == .cacheMatch || self == .cacheDelete }
    /// Whether a store answers it.
    package var isForStore: Bool { rawValue >= Self.kvGet.rawValue }

    /// How many calls of stores an event may make: they count apart from subrequests, and are at least 1000 where those are
    /// few (spec: runtime, section 8). Node and isolate count by the same number.
    package static func storeCallsMax(subrequestsMax: Int) -> Int { max(1000, subrequestsMax) }

    /// As warnings name it.
    package var operation: String {
        switch self {
        case .subrequest: "fetch"
        case .kvGet: "get"
        case .kvPut: "put"
        case .kvDelete: "delete"
        case .kvList: "list"
        case .kvGetMany: "get of several keys"
        case .d1Query: "query"
        case .r2Head: "head"
        case .r2Get: "get"
        case .r2Put: "put"
        case .r2Delete: "delete"
        case .r2List: "list"
        case .r2CreateMultipart: "createMultipartUpload"
        case .r2UploadPart: "uploadPart"
        case .r2CompleteMultipart: "completeMultipartUpload"
        case .r2AbortMultipart: "abortMultipartUpload"
        case .r2Copy: "copy"
        case .r2ListMultipartUploads: "listMultipartUploads"
        case .r2ListParts: "listParts"
        case .queueSend: "send"
        case .queueMetrics: "metrics"
        case .rateLimit: "limit"
        case .analyticsWrite: "writeDataPoint"
        case .cachePut: "cache.put"
        case .cacheMatch: "cache.match"
        case .cacheDelete: "cache.delete"
        case .serviceInvoke, .objectInvoke: "rpc"
        case .objectRequest: "fetch of an object"
        case .objectAlarmTime: "setAlarm"
        case .socketSend: "send"
        case .configure, .fetch, .entrypointFetch, .scheduled, .queue, .health, .shutdown, .log, .waitUntil, .rpc, .objectOpen,
            .objectFetch,
            .objectCall, .objectAlarm, .objectSocket, .objectClose, .objectAbort, .socketClose, .socketAttachment,
            .socketAutoResponse:
            "\(self)"
        }
    }
}
