// Caching decides what a shared cache may keep, for how long, and what it answers from what it kept (RFC 9111, and the rules
// of the product that we follow where they differ). It takes messages and an instant and gives values back: it stores
// nothing, opens nothing and reads no clock.
