internal import Interfaces
internal import OpenSSL
internal import StoresSimulation

extension WorkerDescription {
    /// What makes two workers the same: code, configuration and the secrets they hold. 64 hex digits.
    func fingerprint(
        artifact: String, secrets: [(name: String, value: String)], simulation: SimulationSettings? = nil
    ) -> String {
        var bytes: [UInt8] = []
        func add(_ text: String) { bytes += Array("\(text.utf8.count):\(text)".utf8) }
        add(artifact)
        add(name)
        for binding in bindings { add("\(binding.name)=\(binding.binding)") }
        for variable in variables { add("\(variable.name)=\(variable.value)") }
        for secret in secrets { add("\(secret.name)=\(secret.value)") }
        add("\(limits)")
        add("\(size)")
        if let requestsPerDayMax { add("\(requestsPerDayMax) requests per day") }
        add(origin ?? "")
        add(tag)
        if let frontCache { add("\(frontCache)") }
        // They are applied with the version that brings them.
        if !migrations.isEmpty { add("\(migrations)") }
        // What wraps its stores is made with it.
        if let simulation { add("\(simulation)") }
        return Hexadecimal.text(Digest.hash(bytes, with: .sha256))
    }
}
