-- The key that signs sessions and forms.
select key from signing_keys
