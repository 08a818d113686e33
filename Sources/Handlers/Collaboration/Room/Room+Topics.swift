internal import FoundationEssentials

extension Room {
    func subscribe(to topics: [String], _ member: Member) throws -> [RoomOutput] {
        for topic in topics { try check(topic: topic) }
        let all = Set(member.topics).union(topics)
        guard all.count <= limits.subscriptionsMax else {
            throw RoomFailure.invalid("at most \(limits.subscriptionsMax) topics can be subscribed to")
        }
        var outputs = try keep(all, member)
        // What is known now; later ones come as they happen.
        for topic in Set(topics).sorted() {
            if let value = try storage.topic(topic) { outputs.append(.send(try text(of: value), to: .one(member.id))) }
        }
        return outputs
    }

    func unsubscribe(from topics: [String], _ member: Member) throws -> [RoomOutput] {
        try keep(Set(member.topics).subtracting(topics), member)
    }

    private func keep(_ topics: Set<String>, _ member: Member) throws -> [RoomOutput] {
        var member = member
        member.topics = topics.sorted()
        members[member.id] = member
        return [.keep(member), .send(try roomText(SubscribedMessage(topics: member.topics)), to: .one(member.id))]
    }

    func publish(_ data: JSONValue, topic: String, _ member: Member, _ now: Int64) throws -> [RoomOutput] {
        try require(.editor, member, to: "publish")
        return try publish(data, topic: topic, now: now)
    }

    /// A topic's new value, from a member or from another service.
    ///
    /// - Throws: `RoomFailure`; what the storage throws.
    package func publish(_ data: JSONValue, topic: String, now: Int64) throws -> [RoomOutput] {
        try check(topic: topic)
        let json = try roomText(data)
        guard json.utf8.count <= limits.topicByteCountMax else {
            throw RoomFailure.invalid("the data has \(json.utf8.count) bytes; their limit is \(limits.topicByteCountMax)")
        }
        guard let value = try storage.save(topic: topic, data: json, at: now, topicsMax: limits.topicsMax) else {
            throw RoomFailure.invalid("a room has at most \(limits.topicsMax) topics")
        }
        let ids = members.values.filter { $0.client != nil && $0.topics.contains(topic) }.map(\.id).sorted()
        return ids.isEmpty ? [] : [.send(try text(of: value), to: .some(ids))]
    }

    private func check(topic: String) throws(RoomFailure) {
        guard (1...limits.topicNameByteCountMax).contains(topic.utf8.count), topic.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
        else {
            throw .invalid("a topic has 1 to \(limits.topicNameByteCountMax) visible ASCII characters")
        }
    }

    private func text(of value: TopicValue) throws -> String {
        let data = try JSONDecoder().decode(JSONValue.self, from: Data(value.data.utf8))
        return try roomText(TopicMessage(topic: value.name, version: value.version, at: value.at, data: data))
    }
}
