"""How fast, in how much memory: ``python -m benchmarks.run`` from the project's root.

Every comparison is measured side by side in one run. Not installed; nothing here is an assertion.
"""
