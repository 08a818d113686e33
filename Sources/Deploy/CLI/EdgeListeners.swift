internal import Host
internal import System
internal import TLS

/// The addresses that a node's clients come to, as they were asked for and as they came out: port 0 becomes one that is free.
struct EdgeListeners: Sendable {
    /// What is spoken.
    struct Speech: Sendable {
        /// Present when any address is for https.
        var context: TLSContext?
        var redirects: Bool

        init(_ context: TLSContext?, _ options: TLSOptions?) {
            self.context = context
            redirects = options?.redirects ?? false
        }

        func security(of address: EdgeAddress, securePort: UInt16?) -> ListenerSecurity {
            if address.isSecure, let context { return .tls(context) }
            return if redirects, let securePort { .redirecting(toPort: securePort) } else { .plain }
        }
    }

    private let node: Node
    private let role: LocalRequest.Listener
    /// Those for https first.
    private(set) var bound: [(asked: EdgeAddress, got: Host.ListenAddress)] = []

    init(node: Node, for role: LocalRequest.Listener = .edge) {
        self.node = node
        self.role = role
    }

    private static func securePort(_ bound: [(asked: EdgeAddress, got: Host.ListenAddress)]) -> UInt16? {
        bound.first { $0.asked.isSecure }?.got.port
    }

    /// Listens at `addresses`, and no longer where it did else. New ones come first: when one of those can't be had, all stays
    /// as it was. Open connections go on in any case.
    mutating func open(_ addresses: [EdgeAddress], _ speech: Speech) async throws(SystemError) {
        var next: [(asked: EdgeAddress, got: Host.ListenAddress)] = []
        var opened: [Host.ListenAddress] = []
        var left = bound
        for wanted in addresses {
            // An address that goes from one language to the other keeps its socket.
            let present =
                left.firstIndex { $0.asked == wanted } ?? left.firstIndex { $0.asked.address == wanted.address }
            if let present {
                next.append((wanted, left.remove(at: present).got))
                continue
            }
            do throws(SystemError) {
                let security = speech.security(of: wanted, securePort: Self.securePort(next))
                let got = try await node.listen(wanted.address, for: role, security)
                opened.append(got)
                next.append((wanted, got))
            } catch {
                for address in opened { await node.stopListening(at: address) }
                throw error
            }
        }
        let securePort = Self.securePort(next)
        for item in next where !opened.contains(item.got) {
            await node.setSecurity(speech.security(of: item.asked, securePort: securePort), at: item.got)
        }
        for old in left { await node.stopListening(at: old.got) }
        bound = next
    }
}
