"""ASGI layers around Litestar, from the outside in: request_log, cors, representations, methods.

Inside of it is deadline, whose errors it explains.
"""
