internal import System
internal import Workers

/// What all objects of an isolate share.
final class ObjectEnvironment {
    let durability = DurabilityThread()
    let databases = OpenDatabases()
    private var madeFolders: Set<String> = []

    /// Where an object's file is: below a folder of its first two digits, which is made when it isn't there.
    func path(of name: String, in directory: String) throws -> String {
        let folder = "\(directory)/\(name.prefix(2))"
        if !madeFolders.contains(folder) {
            // Its name is on the disk before anything in it can be.
            try FileTree.makeDirectory(folder, mode: 0o700)
            madeFolders.insert(folder)
        }
        return "\(folder)/\(name).sqlite"
    }
}
