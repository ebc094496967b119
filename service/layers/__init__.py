"""ASGI layers around Litestar, from the outside in: request_log, cors, representations, methods."""
