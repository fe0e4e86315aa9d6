__version__: str
__build__: str
