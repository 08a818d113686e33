// Crypt.
