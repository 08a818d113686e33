// What the node itself keeps of durable objects: the index of their alarms. It refuses to know what is in an object: that is in the
// object's own file, which only isolates open.
