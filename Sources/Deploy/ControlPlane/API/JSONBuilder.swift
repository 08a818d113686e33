/// Makes a value of the events of a JSON text.
struct JSONBuilder {
    private struct Container {
        let isArray: Bool
        /// Where its values start in `values`.
        let start: Int
    }

    /// Of what can't be a value although the grammar allows it.
    struct Refused: Error {}

    /// Values that wait for their container's end, the outermost first; the result at last.
    private var values: [JSON] = []
    /// Names of the members among them.
    private var names: [String] = []
    private var containers: [Container] = []
    private var text: [UInt8] = []

    mutating func take(_ event: JSONEvents.Event) throws(Refused) {
        switch event {
        case .needsBytes, .ended: break
        case .beginArray: containers.append(Container(isArray: true, start: values.count))
        case .beginObject: containers.append(Container(isArray: false, start: values.count))
        case .endArray, .endObject: close()
        case .name(let bytes): names.append(try Self.string(bytes))
        case .text(let piece, let isLast):
            if text.isEmpty { text = piece } else { text += piece }
            guard isLast else { return }
            values.append(.string(try Self.string(text)))
            text = []
        case .number(let bytes): values.append(try Self.number(bytes))
        case .bool(let bool): values.append(.bool(bool))
        case .null: values.append(.null)
        }
    }

    /// The whole value, once the text has ended.
    var value: JSON? { containers.isEmpty ? values.first : nil }

    private mutating func close() {
        guard let container = containers.popLast() else { return }
        let inside = Array(values[container.start...])
        values.removeLast(inside.count)
        guard !container.isArray else { return values.append(.array(inside)) }
        let members = zip(names.suffix(inside.count), inside).map { JSON.Member(name: $0, value: $1) }
        names.removeLast(inside.count)
        values.append(.object(Self.ordered(members)))
    }

    /// By name; of several with one name the last.
    private static func ordered(_ members: [JSON.Member]) -> [JSON.Member] {
        var ordered: [JSON.Member] = []
        for member in members.sorted(by: { $0.name < $1.name }) {
            if ordered.last?.name == member.name { ordered.removeLast() }
            ordered.append(member)
        }
        return ordered
    }

    private static func string(_ bytes: [UInt8]) throws(Refused) -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else { throw Refused() }
        return text
    }

    private static func number(_ bytes: [UInt8]) throws(Refused) -> JSON {
        let text = String(decoding: bytes, as: UTF8.self)
        if let integer = Int64(text) { return .integer(integer) }
        guard let number = Double(text), number.isFinite else { throw Refused() }
        return Int64(exactly: number).map { .integer($0) } ?? .number(number)
    }
}

extension JSON {
    /// - Returns: `nil` for anything but one JSON text in UTF-8, and for one that is nested too deeply.
    package init?(_ bytes: [UInt8]) {
        var (events, builder) = (JSONEvents(), JSONBuilder())
        events.feed(bytes)
        events.finish()
        do {
            while true {
                let event = try events.next()
                try builder.take(event)
                if event == .ended { break }
            }
        } catch { return nil }
        guard let value = builder.value else { return nil }
        self = value
    }
}
