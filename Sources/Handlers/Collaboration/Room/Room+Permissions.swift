extension Room {
    func configure(name: String?, access: RoomRole?, _ member: Member) throws -> [RoomOutput] {
        try require(.owner, member, to: "change the room")
        if let name { settings.name = try RoomSettings.checked(name: name) }
        if let access {
            guard access <= .editor else { throw RoomFailure.invalid("\"access\" must not be \"owner\"") }
            settings.access = access
        }
        try storage.save(settings)
        var outputs: [RoomOutput] = [.send(try roomText(RoomMessage(room: .init(settings))), to: .all(except: nil))]
        guard access != nil else { return outputs }
        let users = Set(members.values.filter { !$0.isAdmin }.map(\.user)).sorted()
        for user in users where try storage.standing(of: user)?.role == nil {
            outputs += try apply(settings.access, to: user, member.connectedAt)
        }
        return outputs
    }

    func grant(_ role: RoomRole?, to user: String, by member: Member, _ now: Int64) throws -> [RoomOutput] {
        try require(.owner, member, to: "give roles")
        try checkUser(user)
        guard user != settings.createdBy || role == .owner else {
            throw RoomFailure.forbidden("who made the room stays its owner")
        }
        var standing = try storage.standing(of: user) ?? Standing()
        let before = standing.role ?? settings.access
        standing.role = role
        try storage.save(standing, of: user)
        let after = role ?? settings.access
        var outputs = try apply(after, to: user, now)
        outputs.append(try report(standing, of: user, to: member))
        guard after != before, user != member.user, after > .none else { return outputs }
        outputs.append(
            .notify(
                RoomNotification(
                    id: "\(settings.id):role:\(user):\(now)", user: user, kind: "room.role_changed", at: now,
                    data: [
                        "room": settings.id, "roomName": settings.name, "by": member.name, "role": after.rawValue,
                    ])))
        return outputs
    }

    /// Gives the connections of a user another role, or ends them.
    private func apply(_ role: RoomRole, to user: String, _ now: Int64) throws -> [RoomOutput] {
        guard role > .none else { return expel(user, code: .removed, now: now) }
        var outputs: [RoomOutput] = []
        for var member in members.values.filter({ $0.user == user && !$0.isAdmin && $0.role != role }).sorted(by: {
            $0.id < $1.id
        }) {
            member.role = role
            outputs += change(member, now)
            outputs.append(.send(try roomText(RoleMessage(role: role)), to: .one(member.id)))
        }
        return outputs
    }

    func kick(_ user: String, seconds: Int, by member: Member, _ now: Int64) throws -> [RoomOutput] {
        var standing = try penalised(user, seconds, member)
        standing.kickedUntil = seconds == 0 ? 0 : now + Int64(seconds) * 1000
        try storage.save(standing, of: user)
        return expel(user, code: .removed, now: now) + [try report(standing, of: user, to: member)]
    }

    func mute(_ user: String, seconds: Int, by member: Member, _ now: Int64) throws -> [RoomOutput] {
        var standing = try penalised(user, seconds, member)
        standing.mutedUntil = seconds == 0 ? 0 : now + Int64(seconds) * 1000
        try storage.save(standing, of: user)
        if typists.removeValue(forKey: user) != nil {
            news.hasTyping = true
            schedule(now)
        }
        let ids = members.values.filter { $0.user == user && $0.client != nil }.map(\.id).sorted()
        return [
            .send(try roomText(MutedMessage(until: standing.mutedUntil)), to: .some(ids)),
            try report(standing, of: user, to: member),
        ]
    }

    private func penalised(_ user: String, _ seconds: Int, _ member: Member) throws -> Standing {
        try require(.owner, member, to: "remove or mute people")
        try checkUser(user)
        guard (0...limits.penaltySecondsMax).contains(seconds) else {
            throw RoomFailure.invalid("\"seconds\" must be from 0 to \(limits.penaltySecondsMax)")
        }
        let standing = try storage.standing(of: user) ?? Standing()
        guard standing.role != .owner, !members.values.contains(where: { $0.user == user && $0.isAdmin }) else {
            throw RoomFailure.forbidden("an owner can't be removed or muted")
        }
        return standing
    }

    private func checkUser(_ user: String) throws(RoomFailure) {
        guard user.utf8.count == 36 else { throw .invalid("\"user\" must be a user's id") }
    }

    private func report(_ standing: Standing, of user: String, to member: Member) throws -> RoomOutput {
        let message = StandingMessage(
            user: user, role: standing.role, kickedUntil: standing.kickedUntil, mutedUntil: standing.mutedUntil)
        return .send(try roomText(message), to: .one(member.id))
    }
}

extension RoomSettings {
    /// 1 to 100 characters in one line.
    ///
    /// - Throws: `RoomFailure` `invalid`.
    package static func checked(name: String) throws(RoomFailure) -> String {
        let isClean = name.unicodeScalars.allSatisfy { !(0..<32).contains($0.value) && !(127..<160).contains($0.value) }
        let hasText = name.unicodeScalars.contains { !$0.properties.isWhitespace }
        guard isClean, hasText, name.unicodeScalars.count <= 100 else {
            throw .invalid("\"name\" must have 1 to 100 characters in one line")
        }
        return name
    }
}
