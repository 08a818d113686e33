/// Patterns as a tree of segments, flat in one array. Built once, then only read.
struct RouteTrie: Sendable {
    enum Match {
        case found(handler: Int, parameters: RouteParameters)
        /// The path exists, for these methods.
        case otherMethods([Method])
        case nothing
    }

    private struct Leaf: Sendable {
        let method: Method
        let handler: Int
        let names: [String]
    }

    private struct Node: Sendable {
        /// Sorted by nothing: few children, compared as bytes.
        var literals: [(text: [UInt8], node: Int)] = []
        var parameter: Int?
        var leaves: [Leaf] = []
        /// Leaves that take all that is left of the path.
        var tails: [Leaf] = []
    }
    private var nodes = [Node()]

    mutating func insert(_ pattern: String, method: Method, handler: Int) throws(RouteError) {
        guard pattern.utf8.first == UInt8(ascii: "/") else { throw .mustStartWithSlash(pattern: pattern) }
        let segments = pattern.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
        var names: [String] = []
        var current = 0
        for (position, segment) in segments.enumerated() {
            if segment.first == "*" {
                guard position == segments.count - 1 else { throw .tailNotLast(pattern: pattern) }
                names.append(segment.count == 1 ? "*" : String(segment.dropFirst()))
                let leaf = Leaf(method: method, handler: handler, names: names)
                guard !nodes[current].tails.contains(where: { $0.method == method }) else {
                    throw .duplicate(method: method.rawValue, pattern: pattern)
                }
                nodes[current].tails.append(leaf)
                return
            }
            if segment.first == ":" {
                guard segment.count > 1 else { throw .emptyParameterName(pattern: pattern) }
                names.append(String(segment.dropFirst()))
                current = parameterChild(of: current)
            } else {
                current = literalChild(of: current, Array(segment.utf8))
            }
        }
        guard !nodes[current].leaves.contains(where: { $0.method == method }) else {
            throw .duplicate(method: method.rawValue, pattern: pattern)
        }
        nodes[current].leaves.append(Leaf(method: method, handler: handler, names: names))
    }

    private mutating func parameterChild(of node: Int) -> Int {
        if let child = nodes[node].parameter { return child }
        nodes.append(Node())
        nodes[node].parameter = nodes.count - 1
        return nodes.count - 1
    }

    private mutating func literalChild(of node: Int, _ text: [UInt8]) -> Int {
        if let child = nodes[node].literals.first(where: { $0.text == text }) { return child.node }
        nodes.append(Node())
        nodes[node].literals.append((text, nodes.count - 1))
        return nodes.count - 1
    }

    func find(_ request: Request) -> Match {
        unsafe request.storage.withPath { unsafe find($0, method: request.method) }
    }

    /// The pointer is lent for the call.
    func find(_ path: UnsafeBufferPointer<UInt8>, method: Method) -> Match {
        var search = Search(method: method)
        unsafe descend(0, path, from: min(1, path.count), &search)
        if let leaf = search.leaf {
            return .found(
                handler: leaf.handler, parameters: RouteParameters(names: leaf.names, values: search.values))
        }
        guard !search.allowed.isEmpty else { return .nothing }
        if search.allowed.contains(.get), !search.allowed.contains(.head) { search.allowed.append(.head) }
        return .otherMethods(search.allowed)
    }

    private struct Search {
        let method: Method
        var values: [String] = []
        var leaf: Leaf?
        var allowed: [Method] = []
    }

    /// Visits what matches, best first, until a leaf has the method. Depth is bounded by the patterns.
    private func descend(
        _ index: Int, _ path: UnsafeBufferPointer<UInt8>, from start: Int, _ search: inout Search
    ) {
        let node = nodes[index]
        if start > path.count {
            choose(node.leaves, &search)
            return
        }
        var end = start
        while end < path.count, unsafe path[end] != UInt8(ascii: "/") { end += 1 }
        let segment = unsafe UnsafeBufferPointer(rebasing: path[start..<end])
        for literal in node.literals where unsafe segment.elementsEqual(literal.text) {
            unsafe descend(literal.node, path, from: end + 1, &search)
            if search.leaf != nil { return }
        }
        if let child = node.parameter, !segment.isEmpty {
            search.values.append(unsafe percentDecoded(segment))
            unsafe descend(child, path, from: end + 1, &search)
            if search.leaf != nil { return }
            search.values.removeLast()
        }
        if !node.tails.isEmpty {
            choose(node.tails, &search)
            if search.leaf != nil {
                search.values.append(unsafe percentDecoded(UnsafeBufferPointer(rebasing: path[start...])))
            }
        }
    }

    private func choose(_ leaves: [Leaf], _ search: inout Search) {
        for leaf in leaves where leaf.method == search.method {
            search.leaf = leaf
            return
        }
        if search.method == .head, let leaf = leaves.first(where: { $0.method == .get }) {
            search.leaf = leaf
            return
        }
        for leaf in leaves where !search.allowed.contains(leaf.method) { search.allowed.append(leaf.method) }
    }

    private func percentDecoded(_ text: UnsafeBufferPointer<UInt8>) -> String {
        guard unsafe text.contains(UInt8(ascii: "%")) else {
            return unsafe String(decoding: text, as: UTF8.self)
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count)
        var index = 0
        while index < text.count {
            let byte = unsafe text[index]
            if byte == UInt8(ascii: "%"), index + 2 < text.count,
                let high = unsafe hexDigit(text[index + 1]), let low = unsafe hexDigit(text[index + 2])
            {
                bytes.append(high << 4 | low)
                index += 3
            } else {
                bytes.append(byte)
                index += 1
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
