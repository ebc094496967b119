"""The queue between a search and its record: RabbitMQ and the worker that empties it."""
