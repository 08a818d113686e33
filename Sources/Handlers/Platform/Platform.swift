// Platform is the kernel that the platform's workers share: errors and their answers, validation, domain
// events, repositories' ground over D1, calls between services, and the small algorithms that protect
// them. It knows no worker and serves no route; what is pure here (limits, breakers, cursors, checks)
// reads no clock and awaits nothing.
