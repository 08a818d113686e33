// Releases brings workers into service: it keeps artifacts and secrets, opens a tenant's stores, starts the isolates of a
// release, and moves traffic, cron and queues to it when it is healthy. It parses no configuration files and
// serves no requests itself.
