// ContentService keeps what users write and the images that go with it, and tells the queue what happened.
// It decides who may read and change what; it doesn't know how events are used.
import Platform
import Workers

@main final class ContentWorker: ServiceWorker, ScheduledHandler {
    let service: Service

    init(env: Env) throws {
        let upload = MediaUpload(
            bytesMax: try env.integer("MEDIA_BYTES_MAX", default: 10 << 20, in: 1...(1 << 30)))
        service = try Service { routes in
            routes.group("/api/v1/content") { routes in
                routes.post("") { try await Writing.create($0) }
                routes.get("") { try await Listing.show($0) }
                routes.get("/:id") { try await Reading.show($0) }
                routes.put("/:id") { try await Writing.replace($0) }
                routes.patch("/:id") { try await Writing.change($0) }
                routes.delete("/:id") { try await Writing.delete($0) }
                routes.put("/:id/media") { try await upload.respond(to: $0) }
                routes.post("/:id/media") { try await upload.respond(to: $0) }
                routes.get("/:id/media") { try await MediaDownload.respond(to: $0) }
            }
        }
    }

    /// Each minute: sends the events that were left behind.
    func scheduled(_ event: ScheduledEvent, env: Env, context: ExecutionContext) async throws {
        try await Outbox(env).sweep(context)
    }
}
