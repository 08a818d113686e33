package import Stores
internal import StoresObjects
internal import System

extension StateDirectory {
    /// The index of the alarms of a tenant's durable objects; blocks.
    package func openAlarms(tenant: String) throws -> any ObjectAlarmIndex {
        let directory = try directory(of: .objects, tenant: tenant)
        // Namespaces are 32 digits. Where there is one, its objects may have alarms that a new index must ask for.
        let isNew = FileTree.list(directory).allSatisfy { $0.utf8.count != 32 }
        return try EmbeddedObjectAlarmIndex(directory: directory + "/alarms", isNew: isNew)
    }
}
