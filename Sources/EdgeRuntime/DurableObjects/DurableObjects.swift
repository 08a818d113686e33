// DurableObjects is the part of the SDK for objects that exist once: their classes, their storage, which is an SQLite file in the
// isolate's own directory, and the stubs by which others call them.
// It knows nothing of the wire's frames: what an object needs of its isolate stands in `Workers/Objects`.

@_exported public import Workers
