"""The whole platform on one machine: its processes, how they are started, watched and ended.

One module an outside program (`postgres`, `kafka`, `sshd`), `services` for the list of all of them, `supervisor` for
supervisord. What runs inside the processes lives elsewhere: this package only starts them.
"""
