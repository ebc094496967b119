"""ASGI layers around Litestar, from the outside in: request_log, cors, representations, methods.

Inside of it, around each handler, are counting, deadline, at_hand and names.
"""
