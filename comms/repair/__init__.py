"""What providers did not manage to tell us, fetched from their own logs; and whether they are set up to tell us.

``sweeping`` compares a number with its provider's log and fills in what is lacking, ``records`` keeps how each number
stands, ``asking`` goes to the provider, ``checkup`` is what ``comms doctor`` asks about a connection.
"""

from comms.repair.sweeping import Sweeps

__all__ = ["Sweeps"]
