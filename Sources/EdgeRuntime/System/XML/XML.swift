// XML reads small documents that clients send, into a tree, with libexpat. It refuses document types, and with them every
// entity of a document's own: nothing is ever expanded, and nothing outside the document is looked at.
//
// Threads and lifetime: a parser is used by the one call that makes it (https://libexpat.github.io/doc/api/latest/). It calls
// back during XML_Parse only.
