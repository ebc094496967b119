"""ASGI layers, from the outside in: request_log, cors, representations, methods, Litestar, deadline."""
