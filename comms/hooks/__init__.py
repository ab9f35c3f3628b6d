"""Outbound webhooks: what happens in a workspace is told to addresses of its own, signed, in order, at least once.

the log ──► following: a row for each event and endpoint, in the line of its conversation
                posting: the first of each line is leased, posted, and settled ──► next, or later
"""
