extension Room {
    func say(_ text: String, id: String, _ member: Member, _ now: Int64) throws -> [RoomOutput] {
        try require(.commenter, member, to: "write")
        guard Self.clientByteCounts.contains(id.utf8.count), id.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw RoomFailure.invalid("\"id\" must have 8 to 64 visible ASCII characters")
        }
        try checkChat(text)
        let muted = try storage.standing(of: member.user)?.mutedUntil ?? 0
        guard muted <= now else {
            throw RoomFailure("muted", "an owner has muted you for a while", retryAfter: muted - now)
        }
        if let wait = spend(member.id, \.chat, limits.chat, now) { throw RoomFailure.rateLimited(wait) }
        let draft = ChatDraft(id: id, user: member.user, name: member.name, text: text, at: now)
        let (message, isNew) = try storage.append(draft, keeping: limits.chatMessagesKept)
        let event = try roomText(ChatEvent(message: message))
        // The answer got lost, and the message came again: only its author has to hear of it.
        guard isNew else { return [.send(event, to: .one(member.id))] }
        if typists.removeValue(forKey: member.user) != nil {
            news.hasTyping = true
            schedule(now)
        }
        return [.send(event, to: .all(except: nil))] + (try mentions(in: message))
    }

    private func checkChat(_ text: String) throws(RoomFailure) {
        let count = text.unicodeScalars.count
        guard count <= limits.chatLengthMax else {
            throw .invalid("the text has \(count) characters; its limit is \(limits.chatLengthMax)")
        }
        guard text.unicodeScalars.contains(where: { !$0.properties.isWhitespace }) else { throw .invalid("the text is empty") }
        let isClean = text.unicodeScalars.allSatisfy { scalar in
            switch scalar.value {
            case 9, 10, 13: true
            case 0..<32, 127..<160: false
            default: true
            }
        }
        guard isClean else { throw .invalid("the text contains control characters") }
    }

    /// Tells those of whom a message speaks: `@name`, for people who have been here.
    private func mentions(in message: ChatMessage) throws -> [RoomOutput] {
        var users: [String] = []
        for name in ChatMentions.names(in: message.text).prefix(limits.mentionsMax) {
            guard let user = try storage.user(named: name), user != message.user, !users.contains(user) else { continue }
            // Somebody who was shut out must not read on in their inbox.
            let standing = try storage.standing(of: user)
            guard standing?.role ?? settings.access > .none, standing?.kickedUntil ?? 0 <= message.at else { continue }
            users.append(user)
        }
        return users.map { user in
            .notify(
                RoomNotification(
                    id: "\(settings.id):\(message.number):\(user)", user: user, kind: "room.mentioned", at: message.at,
                    data: [
                        "room": settings.id, "roomName": settings.name, "by": message.name,
                        "text": String(String.UnicodeScalarView(message.text.unicodeScalars.prefix(200))),
                    ]))
        }
    }

    func page(before: Int64?, limit: Int, _ member: Member) throws -> [RoomOutput] {
        guard (1...limits.historyPageMax).contains(limit) else {
            throw RoomFailure.invalid("\"limit\" must be from 1 to \(limits.historyPageMax)")
        }
        let page = try storage.messages(before: before, limit: limit + 1)
        let message = HistoryMessage(messages: page.suffix(limit), hasMore: page.count > limit)
        return [.send(try roomText(message), to: .one(member.id))]
    }
}

/// The user names that a text speaks to: `@` and a name (3 to 32 letters, digits, `_`, `-`, `.`) that follows no such character.
enum ChatMentions {
    static func names(in text: String) -> [String] {
        var names: [String] = []
        var current: [UInt8]?
        var previous: UInt8 = 0x20
        for byte in Array(text.utf8) + [0x20] {
            if isPart(byte) {
                current?.append(byte)
            } else {
                if let bytes = current { finish(bytes, &names) }
                current = byte == 0x40 && !isPart(previous) ? [] : nil
            }
            previous = byte
        }
        return names
    }

    private static func finish(_ bytes: [UInt8], _ names: inout [String]) {
        // A full stop at the end is the sentence's.
        let trimmed = bytes.reversed().drop { $0 == 0x2E || $0 == 0x2D }.reversed()
        guard (3...32).contains(trimmed.count) else { return }
        let name = String(decoding: Array(trimmed), as: UTF8.self)
        if !names.contains(name) { names.append(name) }
    }

    private static func isPart(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x5F, 0x2D, 0x2E: true
        default: byte >= 0x80
        }
    }
}
