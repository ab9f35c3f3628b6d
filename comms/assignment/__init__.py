"""Which person a conversation is for that nobody owns: rules, queues, and who is next.

``rules`` says into which queue it belongs, ``queueing`` keeps it there, ``choosing`` says whom it is for and why,
``giving`` does it, and ``following`` has all of that done whenever the log says that something is different.
"""
