"""``python -m gateway`` is the command ``liveedge``, which the package ``web`` has: this package is the library."""

import runpy

runpy.run_module("web", run_name="__main__", alter_sys=True)
