"""The backend endpoints, for frontends without a database and for operators."""
