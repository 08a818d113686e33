// Host.
