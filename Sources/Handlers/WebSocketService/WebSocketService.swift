// WebSocketService has the platform's rooms and inboxes: durable objects whose decisions are the Collaboration room's, and
// the routes that lead to them. It trusts the identity that the gateway has verified, and keeps nothing outside its objects.
import Collaboration
import DurableObjects
import Platform
import Workers

@main final class WebSocketWorker: ServiceWorker, QueueHandler, DurableObjectWorker {
    static var durableObjects: [any DurableObject.Type] { [CollaborationRoom.self, UserInbox.self] }

    let service: Service

    init(env: Env) throws {
        service = try Service { routes in
            routes.group("/api/v1/realtime") { routes in
                routes.post("/rooms") { try await RoomEndpoints.create($0) }
                routes.get("/rooms/:id") { try await RoomEndpoints.show($0) }
                routes.get("/rooms/:id/socket") { try await RoomEndpoints.connect($0) }
                routes.get("/rooms/:id/messages") { try await RoomEndpoints.messages($0) }
                routes.put("/rooms/:id/topics/:topic") { try await RoomEndpoints.publish($0) }
                routes.get("/notifications") { try await InboxEndpoints.list($0) }
                routes.post("/notifications/read") { try await InboxEndpoints.markRead($0) }
                routes.get("/notifications/socket") { try await InboxEndpoints.connect($0) }
            }
        }
    }

    /// Notifications, from rooms and from any other service that has the queue.
    func queue(_ batch: MessageBatch, env: Env, context: ExecutionContext) async throws {
        let inboxes = try env.durableObjects("INBOXES")
        for message in batch.messages {
            do {
                let notification = try message.json(as: RoomNotification.self)
                if let flaw = notification.flaw { throw ConfigurationFlaw(flaw) }
                try await inboxes.getByName(notification.user).call(InboxCalls.deliver, notification)
                message.ack()
            } catch {
                context.log.error("notification not delivered", ["message": message.id, "error": "\(error)"])
                message.retry(delaySeconds: min(600, 5 << min(message.attempts, 7)))
            }
        }
    }
}
