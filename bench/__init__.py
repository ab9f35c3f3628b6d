"""What ``make bench`` runs: an ordinary handler, PostgreSQL alone and comms, side by side on one machine.

``__main__`` tells the story; ``stage`` sets it (database, workspaces, servers), ``webhooks`` signs what is posted,
``load`` posts it, ``naive`` is the ordinary handler, ``ceiling`` is PostgreSQL alone, ``ledger`` counts what was kept.
``throughput``, ``live`` and ``memory`` are the parts, ``report`` prints and judges; README.md says how to read it.
"""
