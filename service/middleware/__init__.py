"""ASGI middleware, one concern per module. `app.py` lists it in order."""
