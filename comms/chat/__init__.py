"""Live chat: somebody on a website writes, reads and leaves; for the team it is a conversation like any other.

``widgets`` are what websites show, ``tokens`` prove who comes back, ``visitors`` is how one comes and who they say to
be; ``saying`` keeps what they write, ``showing`` is all that they ever see, ``leaving`` how a chat goes on without
them; ``desk`` serves their sockets (``guests``) with the frames of ``protocol``, and ``staff`` is who could answer.
"""
