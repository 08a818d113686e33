// Stores is what all engines share: the form in which the node hands a binding call to a store and gets its answer
// back, and what bounds the memory, files and threads that calls cost. Each engine stands in a folder of its own
// beside this one; none knows HTTP, a channel or another engine.
