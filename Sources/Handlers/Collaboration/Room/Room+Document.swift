extension Room {
    static var clientByteCounts: ClosedRange<Int> { 8...64 }

    /// The first message: tells the client everything that it has to know.
    func join(_ member: Member, client: String, revision: Int?, _ now: Int64) throws -> [RoomOutput] {
        guard Self.clientByteCounts.contains(client.utf8.count), client.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw RoomFailure.invalid("\"client\" must have 8 to 64 visible ASCII characters")
        }
        guard member.client == nil else { throw RoomFailure.invalid("this connection has joined already") }
        // A connection that the client has given up, while the server hasn't noticed.
        let key = ClientKey(user: member.user, client: client)
        var outputs = clients[key].map { end($0, .replaced, now) } ?? []
        var member = member
        member.client = client
        members[member.id] = member
        arrivals[member.id] = nil
        clients[key] = member.id
        joinedCount += 1
        latest.append(member.id)
        if latest.count > 4 * limits.presenceDetailMax { latest = shownLatest().reversed() }
        outputs.append(.keep(member))
        outputs.append(.send(try roomText(try welcome(member, client: client, revision: revision, now)), to: .one(member.id)))
        news.present.insert(member.id)
        news.hasPresence = true
        schedule(now)
        return outputs
    }

    private func welcome(_ member: Member, client: String, revision: Int?, _ now: Int64) throws -> JoinedMessage {
        let page = try storage.messages(before: nil, limit: 51)
        let muted = try storage.standing(of: member.user)?.mutedUntil ?? 0
        var message = JoinedMessage(
            you: MemberView(member), room: .init(settings), revision: history.revision, members: try present(),
            memberCount: joinedCount, chat: .init(messages: page.suffix(50), hasMore: page.count > 50),
            mutedUntil: muted > now ? muted : nil,
            limits: .init(
                messageBytes: limits.messageByteCountMax, documentLength: limits.documentLengthMax,
                chatLength: limits.chatLengthMax))
        message.acknowledged = try storage.lastSubmission(author: member.user, client: client)?.sequence
        let missed = try revision.map { try history.catchUp(from: $0, author: member.user, client: client) } ?? .snapshot
        switch missed {
        case .steps(let steps):
            message.steps = steps.map { .init(revision: $0.revision, operation: $0.operation, acknowledges: $0.acknowledges) }
        case .snapshot: message.text = history.document.text
        }
        return message
    }

    /// The members whom a new one is shown: in a large room, the ones who came last.
    private func present() throws -> [MemberView] {
        try shownLatest().compactMap { id in
            try members[id].map { MemberView($0, cursor: try currentCursor($0)) }
        }
    }

    /// The newest first.
    private func shownLatest() -> [String] {
        var shown: [String] = []
        for id in latest.reversed() where members[id] != nil {
            shown.append(id)
            if shown.count == limits.presenceDetailMax { break }
        }
        return shown
    }

    func submit(
        _ operation: TextOperation, sequence: Int, revision: Int, _ member: Member, _ now: Int64
    ) throws -> [RoomOutput] {
        guard let client = member.client else { throw RoomFailure.notJoined }
        try require(.editor, member, to: "edit")
        if let wait = spend(member.id, \.operations, limits.operations, now) { throw RoomFailure.rateLimited(wait) }
        let submission = Submission(
            revision: revision, operation: operation, author: member.user, client: client, sequence: sequence)
        switch try history.submit(submission, at: now, lengthMax: limits.documentLengthMax) {
        case .repeated(let revision):
            let answer = AcknowledgementMessage(sequence: sequence, revision: revision)
            return [.send(try roomText(answer), to: .one(member.id))]
        case .refused(let refusal): throw RoomFailure(refusal.code, refusal.description)
        case .applied(let entry):
            let answer = AcknowledgementMessage(sequence: sequence, revision: entry.revision)
            let event = OperationMessage(
                revision: entry.revision, operation: entry.operation, member: member.id, user: member.user, client: client,
                sequence: sequence)
            return [
                .send(try roomText(answer), to: .one(member.id)),
                .send(try roomText(event), to: .all(except: member.id)),
            ]
        }
    }

    // MARK: Cursors

    func move(_ cursor: Member.Cursor?, revision: Int, _ member: Member, _ now: Int64) throws -> [RoomOutput] {
        // One of a text that nobody knows any more is no error: the next one comes soon.
        guard (history.oldestRevision...history.revision).contains(revision) else { return [] }
        var member = member
        member.cursor = cursor
        member.cursorRevision = revision
        let current = try currentCursor(member)
        guard (current == nil) == (cursor == nil) else { throw RoomFailure.invalid("the cursor is outside the text") }
        guard current != members[member.id]?.cursor || history.revision != members[member.id]?.cursorRevision else { return [] }
        member.cursor = current
        member.cursorRevision = history.revision
        members[member.id] = member
        news.cursors.insert(member.id)
        schedule(now)
        return []
    }

    /// A member's cursor in the newest text; `nil` if there is none, or its text is too long ago.
    func currentCursor(_ member: Member) throws -> Member.Cursor? {
        guard var cursor = member.cursor else { return nil }
        guard (history.oldestRevision...history.revision).contains(member.cursorRevision) else { return nil }
        for entry in try history.entries(after: member.cursorRevision) {
            let isAuthors = entry.author == member.user && entry.client == member.client
            cursor.anchor = entry.operation.moved(cursor.anchor, isAuthors: isAuthors)
            cursor.head = entry.operation.moved(cursor.head, isAuthors: isAuthors)
        }
        let places = 0...history.document.length
        guard places.contains(cursor.anchor), places.contains(cursor.head) else { return nil }
        return cursor
    }
}
