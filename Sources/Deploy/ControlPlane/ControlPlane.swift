// ControlPlane answers what is asked of the node rather than of its workers: status, health, metrics, and in dev the
// triggers of events. It decides who may ask; what is done, Releases and Host do.
