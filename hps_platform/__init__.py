"""HPS Platform: agentless monitoring of Unix servers."""

__version__ = "0.1.0"
