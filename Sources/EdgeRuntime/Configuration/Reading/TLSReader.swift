/// Reads `tls`: which certificates a node has, and where it speaks https. The files themselves are nobody's business here:
/// an environment is checked on machines that don't have them.
struct TLSReader {
    /// The addresses of `listen`.
    let plain: [ListenAddress]

    func read(_ reader: inout TableReader) -> TLSSettings? {
        guard var tls = reader.table("tls") else { return nil }
        var certificates = [readFiles(&tls)]
        for var more in tls.tables("certificates") ?? [] {
            certificates.append(readFiles(&more))
            more.finish()
        }
        let listen = readListen(&tls)
        let redirect = tls.boolean("redirect")
        if let redirect, redirect.value, listen.isEmpty {
            tls.report(
                .invalidValue, redirect.place, "redirect",
                "all addresses of \"listen\" are for https: there is nothing to redirect",
                fix: "name the addresses for https in tls.listen")
        }
        tls.finish()
        let files = certificates.compactMap(\.self)
        guard files.count == certificates.count else { return nil }
        return TLSSettings(certificates: files, listen: listen, redirect: redirect?.value ?? false)
    }

    private func readFiles(_ reader: inout TableReader) -> TLSSettings.Files? {
        let certificate = reader.required("certificate", "a PEM file")
        let key = reader.required("key", "a PEM file")
        guard let certificate, let key else { return nil }
        return TLSSettings.Files(certificate: certificate, key: key)
    }

    private func readListen(_ reader: inout TableReader) -> [ListenAddress] {
        let addresses = EnvironmentReader.addresses(reader.strings("listen") ?? [], of: "listen", reader)
        for (index, address) in addresses.enumerated() where address.value.port != 0 && plain.contains(address.value) {
            reader.report(
                .invalidValue, address.place, "listen", element: index,
                "\(address.value) stands in the environment's \"listen\" as well, where it is plain",
                fix: "leave it in one of them")
        }
        return addresses.map(\.value)
    }
}
