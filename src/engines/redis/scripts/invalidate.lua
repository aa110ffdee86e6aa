-- KEYS: entries that are invalidated. Removes them, and ends the loads under their names. Answers how many entries
-- there were.
redis.call('HDEL', NAMES.leases, unpack(KEYS))
return redis.call('UNLINK', unpack(KEYS))
