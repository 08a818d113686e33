// WorkersCrypto.
