// Workers is the SDK: what a handler imports, and the event loop that runs it in an isolate at the far end of Wire.
// It links nothing of the host: it opens no file and no socket, and all that a handler may do leaves
// through the channels it was started with.

@_exported public import Caching
@_exported public import HTTP
@_exported public import Interfaces
