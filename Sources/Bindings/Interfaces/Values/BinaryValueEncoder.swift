/// Makes a `BinaryValue` of anything `Encodable`. Bytes, as `[UInt8]`, stay bytes.
package enum BinaryValueEncoder {
    /// - Throws: what `value` throws, and `EncodingError` for what is nested deeper than `BinaryValue.depthMax`.
    package static func encode(_ value: some Encodable) throws -> [UInt8] {
        try Self.value(of: value, at: []).encoded()
    }

    fileprivate static func value(of value: any Encodable, at path: [any CodingKey]) throws -> BinaryValue {
        guard path.count < BinaryValue.depthMax else {
            throw EncodingError.invalidValue(value, .init(codingPath: path, debugDescription: "values nested too deeply"))
        }
        switch value {
        case let bytes as [UInt8]: return .bytes(bytes)
        case let text as String: return .text(text)
        default: break
        }
        let encoder = NodeEncoder(codingPath: path)
        try value.encode(to: encoder)
        return encoder.node.value
    }
}

/// What is being built: containers are handed out before they are filled, so they are objects.
private final class Node {
    enum Content {
        case empty
        case leaf(BinaryValue)
        case array([Node])
        case map([(key: String, node: Node)])
    }
    var content = Content.empty

    init(_ value: BinaryValue? = nil) { if let value { content = .leaf(value) } }

    var value: BinaryValue {
        switch content {
        // A type that encodes nothing is an empty object, as JSON's encoders have it.
        case .empty: .map([])
        case .leaf(let value): value
        case .array(let nodes): .array(nodes.map(\.value))
        case .map(let entries): .map(entries.map { ($0.key, $0.node.value) })
        }
    }

    func append(_ node: Node) {
        guard case .array(var nodes) = content else {
            content = .array([node])
            return
        }
        content = .empty
        nodes.append(node)
        content = .array(nodes)
    }

    var count: Int {
        guard case .array(let nodes) = content else { return 0 }
        return nodes.count
    }

    func set(_ key: String, _ node: Node) {
        guard case .map(var entries) = content else {
            content = .map([(key, node)])
            return
        }
        content = .empty
        if let index = entries.firstIndex(where: { $0.key == key }) {
            entries[index].node = node
        } else {
            entries.append((key, node))
        }
        content = .map(entries)
    }
}

private struct NodeEncoder: Encoder {
    let codingPath: [any CodingKey]
    let userInfo: [CodingUserInfoKey: Any] = [:]
    let node: Node

    init(codingPath: [any CodingKey], node: Node = Node()) {
        self.codingPath = codingPath
        self.node = node
    }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        if case .empty = node.content { node.content = .map([]) }
        return KeyedEncodingContainer(KeyedContainer<Key>(codingPath: codingPath, node: node))
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer {
        if case .empty = node.content { node.content = .array([]) }
        return UnkeyedContainer(codingPath: codingPath, node: node)
    }

    func singleValueContainer() -> any SingleValueEncodingContainer { SingleContainer(codingPath: codingPath, node: node) }
}

private func scalar<Value: Encodable>(_ value: Value) -> BinaryValue? {
    switch value {
    case let value as Bool: .bool(value)
    case let value as String: .text(value)
    case let value as Double: .double(value)
    case let value as Float: .double(Double(value))
    case let value as any BinaryInteger & FixedWidthInteger:
        Int64(exactly: value).map { BinaryValue($0) } ?? UInt64(exactly: value).map { .unsigned($0) }
    default: nil
    }
}

private struct KeyedContainer<Key: CodingKey>: KeyedEncodingContainerProtocol {
    let codingPath: [any CodingKey]
    let node: Node

    mutating func encodeNil(forKey key: Key) { node.set(key.stringValue, Node(.null)) }

    mutating func encode<Value: Encodable>(_ value: Value, forKey key: Key) throws {
        let encoded = try scalar(value) ?? BinaryValueEncoder.value(of: value, at: codingPath + [key])
        node.set(key.stringValue, Node(encoded))
    }

    mutating func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type, forKey key: Key
    ) -> KeyedEncodingContainer<Nested> {
        nested(key).container(keyedBy: type)
    }

    mutating func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer { nested(key).unkeyedContainer() }

    mutating func superEncoder() -> any Encoder { superEncoder(PlainKey("super")) }
    mutating func superEncoder(forKey key: Key) -> any Encoder { nested(key) }

    private func superEncoder(_ key: PlainKey) -> any Encoder {
        let child = NodeEncoder(codingPath: codingPath + [key])
        node.set(key.stringValue, child.node)
        return child
    }

    private func nested(_ key: Key) -> NodeEncoder {
        let child = NodeEncoder(codingPath: codingPath + [key])
        node.set(key.stringValue, child.node)
        return child
    }
}

private struct UnkeyedContainer: UnkeyedEncodingContainer {
    let codingPath: [any CodingKey]
    let node: Node
    var count: Int { node.count }

    mutating func encodeNil() { node.append(Node(.null)) }

    mutating func encode<Value: Encodable>(_ value: Value) throws {
        node.append(Node(try scalar(value) ?? BinaryValueEncoder.value(of: value, at: codingPath + [PlainKey(count)])))
    }

    mutating func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) -> KeyedEncodingContainer<Nested> {
        nested().container(keyedBy: type)
    }

    mutating func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer { nested().unkeyedContainer() }
    mutating func superEncoder() -> any Encoder { nested() }

    private func nested() -> NodeEncoder {
        let child = NodeEncoder(codingPath: codingPath + [PlainKey(count)])
        node.append(child.node)
        return child
    }
}

private struct SingleContainer: SingleValueEncodingContainer {
    let codingPath: [any CodingKey]
    let node: Node

    mutating func encodeNil() { node.content = .leaf(.null) }

    mutating func encode<Value: Encodable>(_ value: Value) throws {
        node.content = .leaf(try scalar(value) ?? BinaryValueEncoder.value(of: value, at: codingPath))
    }
}

/// A place in an array, or the name of what has none of its own.
struct PlainKey: CodingKey {
    let stringValue: String
    let intValue: Int?

    init(_ index: Int) {
        stringValue = "\(index)"
        intValue = index
    }

    init(_ name: String) {
        stringValue = name
        intValue = nil
    }

    init?(stringValue: String) { self.init(stringValue) }
    init?(intValue: Int) { self.init(intValue) }
}
