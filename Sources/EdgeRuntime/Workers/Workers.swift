// Workers.
