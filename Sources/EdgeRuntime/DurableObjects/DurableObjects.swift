// DurableObjects is the part of the SDK for objects that exist once: their storage, which is an SQLite file in the isolate's
// own directory, and the gates that make code which awaits behave as if nothing happened in between.
// It knows no wire: what an object needs of its isolate stands in `ObjectTurns`.
