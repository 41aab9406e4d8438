"""How the world comes in: the proxy, the hub, transports, tools, resources, commands."""

__version__ = "0.1.0"
