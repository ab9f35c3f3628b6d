"""The telephone network as a provider sees it: people who call, hear, press keys, talk and leave messages.

It asks us what each line is to do as Twilio and SignalWire do, does what it is told, and tells of it: signed, late,
twice or out of order, if that is wanted. Time passes as fast as ``second`` says.
"""

from comms.simulators.telephone.lines import Line, Person, Telling
from comms.simulators.telephone.rest import CallsApi
from comms.simulators.telephone.switchboard import Switchboard

__all__ = ["CallsApi", "Line", "Person", "Switchboard", "Telling"]
