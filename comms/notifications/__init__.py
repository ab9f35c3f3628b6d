"""What members are told about: made of the log, grouped, counted, read; mailed and pushed as each of them wants it.

``following`` reads the log; ``rules`` say which events are ``occasions``, ``circles`` for whom; ``keeping`` keeps them.
``reading`` is what a member does with it; ``preferences``, ``digests`` and ``pushing`` are how it reaches them.
"""
