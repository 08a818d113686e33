"""Projects in temporary folders: configuration of their own, products of this build.

A project's folder holds what `edge dev` reads: wrangler-like.toml, environments/, migrations/, .dev.vars and
.build/debug. Tests change these files while a node runs.
"""

import os
import shutil
import tempfile

from harness import PRODUCTS, ROOT, Node

# The files that the platform's page consists of.
ASSETS = "Sources/Handlers/WebSocketService/Assets"


class Project:
    """A folder with a configuration. A context manager: it removes the folder at its end."""

    def __init__(self, shape=None, environments=None, dev_vars="", products=None):
        """Without `shape`, the platform's own configuration. `products`: the executables to have, as files of their
        own that may be replaced; without, all of this build."""
        self.directory = tempfile.mkdtemp(prefix="edge-project-")
        if shape is None:
            for name in ("wrangler-like.toml", "environments", "migrations"):
                source = os.path.join(ROOT, name)
                (shutil.copytree if os.path.isdir(source) else shutil.copy)(source, self.path(name))
            shutil.copytree(os.path.join(ROOT, ASSETS), self.path(ASSETS))
        else:
            self.write("wrangler-like.toml", shape)
        for name, text in (environments or {}).items():
            self.write(f"environments/{name}.toml", text)
        os.makedirs(self.path("environments"), exist_ok=True)
        if dev_vars:
            self.write(".dev.vars", dev_vars)
        os.makedirs(self.path(".build"))
        if products is None:
            os.symlink(os.path.abspath(PRODUCTS), self.path(".build/debug"))
        else:
            os.makedirs(self.path(".build/debug"))
            for name in products:
                self.install(name, os.path.join(PRODUCTS, name))

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, text):
        """Replaces a file as editors do: a new one is renamed over it."""
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        temporary = os.path.join(os.path.dirname(path), ".new-" + os.path.basename(path))
        with open(temporary, "w") as file:
            file.write(text)
        os.rename(temporary, path)

    def read(self, name):
        with open(self.path(name)) as file:
            return file.read()

    def edit(self, name, old, new):
        text = self.read(name)
        assert old in text, (name, old)
        self.write(name, text.replace(old, new))

    def install(self, product, source):
        """Puts an executable in the place of a product, as a linker does."""
        target = self.path(f".build/debug/{product}")
        temporary = target + ".new"
        shutil.copy(source, temporary)
        os.rename(temporary, target)

    def dev(self, *arguments, **keywords):
        """`edge dev` in this project, without compiling."""
        keywords.setdefault("state", self.path("state"))
        return Node("dev", "--no-build", *arguments, cwd=self.directory, **keywords)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.directory, ignore_errors=True)
