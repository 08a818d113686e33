extension Room {
    func present(_ state: Member.State, _ member: Member, _ now: Int64) -> [RoomOutput] {
        guard member.state != state else { return [] }
        var member = member
        member.state = state
        return change(member, now)
    }

    /// Keeps a change that others see.
    func change(_ member: Member, _ now: Int64) -> [RoomOutput] {
        members[member.id] = member
        if member.client != nil {
            news.present.insert(member.id)
            news.hasPresence = true
            schedule(now)
        }
        return [.keep(member)]
    }

    func type(_ isTyping: Bool, _ member: Member, _ now: Int64) throws -> [RoomOutput] {
        try require(.commenter, member, to: "write")
        let wasTyping = typists[member.user] != nil
        if isTyping {
            guard try storage.standing(of: member.user)?.mutedUntil ?? 0 <= now else { return [] }
            typists[member.user] = now + limits.typingLifetime
        } else {
            typists[member.user] = nil
        }
        if wasTyping != isTyping {
            news.hasTyping = true
            schedule(now)
        }
        return []
    }

    func list(after: String?, limit: Int, _ member: Member) throws -> [RoomOutput] {
        guard (1...limits.presenceDetailMax).contains(limit) else {
            throw RoomFailure.invalid("\"limit\" must be from 1 to \(limits.presenceDetailMax)")
        }
        let page = members.values.filter { $0.client != nil && $0.id > after ?? "" }.sorted { $0.id < $1.id }.prefix(limit + 1)
        let shown = page.prefix(limit)
        let views = try shown.map { MemberView($0, cursor: try currentCursor($0)) }
        let message = MembersMessage(members: views, next: page.count > limit ? shown.last?.id : nil)
        return [.send(try roomText(message), to: .one(member.id))]
    }

    // MARK: Time

    /// When `tick` wants to be called; `nil` for not at all, so that the object can leave memory.
    package var nextTick: Int64? {
        [news.due, typists.values.min(), arrivals.values.min().map { $0 + limits.joinTime }].compactMap { $0 }.min()
    }

    func schedule(_ now: Int64) {
        if news.due == nil { news.due = now + limits.gatheringTime(memberCount: joinedCount) }
    }

    /// Tells the news, and ends what has lasted long enough.
    package func tick(now: Int64) throws -> [RoomOutput] {
        var outputs: [RoomOutput] = []
        for id in arrivals.filter({ $0.value + limits.joinTime <= now }).keys.sorted() {
            outputs += end(id, .joinTimedOut, now)
        }
        let silent = typists.filter { $0.value <= now }.keys
        for user in silent { typists[user] = nil }
        if !silent.isEmpty { news.hasTyping = true }
        guard news.due.map({ $0 <= now }) ?? false || !silent.isEmpty else { return outputs }
        let told = news
        news = News()
        if told.hasPresence { outputs.append(.send(try roomText(presence(told)), to: .all(except: nil))) }
        if told.hasTyping { outputs.append(.send(try roomText(typing()), to: .all(except: nil))) }
        if !told.cursors.isEmpty {
            let cursors = told.cursors.sorted().prefix(limits.presenceDetailMax)
            let items = try cursors.compactMap { id -> CursorsMessage.Item? in
                guard let member = members[id] else { return nil }
                let cursor = try currentCursor(member)
                outputs.append(.keep(member))
                return CursorsMessage.Item(member: id, anchor: cursor?.anchor, head: cursor?.head)
            }
            let message = CursorsMessage(revision: history.revision, cursors: items)
            outputs.append(.send(try roomText(message), to: .all(except: nil)))
        }
        return outputs
    }

    private func presence(_ told: News) -> PresenceMessage {
        var message = PresenceMessage(count: joinedCount)
        guard joinedCount <= limits.presenceDetailMax else { return message }
        let present = told.present.sorted().compactMap { members[$0].map { MemberView($0) } }
        if !present.isEmpty { message.present = present }
        if !told.left.isEmpty { message.left = told.left }
        return message
    }

    private func typing() -> TypingMessage {
        let people = typists.keys.sorted().prefix(10).map { user in
            TypingMessage.Person(user: user, name: members.values.first { $0.user == user }?.name ?? "")
        }
        return TypingMessage(people: people)
    }
}
