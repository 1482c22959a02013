"""callreplay turns recorded VoIP calls into audio and pictures, exactly and fast."""

from callreplay._version import __version__

__all__ = ["__version__"]
