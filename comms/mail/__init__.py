"""Mail: what comes in by SendGrid's Inbound Parse, and what leaves by SendGrid or SMTP.

``intake`` is how a webhook comes in, ``reading`` what is in it (``mime``, ``texts``, ``markup``, ``quotes``,
``automatic``, ``returned``), ``story`` which conversation it belongs to, and ``keeping`` the rows it becomes.
``events`` is what became of mails we sent, ``returning`` the same where only a mail tells.
``tokens`` signs the addresses that replies go to.
"""
