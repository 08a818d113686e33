// Isolates.
