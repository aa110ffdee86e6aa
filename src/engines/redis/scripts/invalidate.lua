-- KEYS: entries that are invalidated. ARGV: '1' if the keys of those that there were are asked for. Removes them, and
-- ends the loads under their names. Answers how many entries there were, and their keys if they are asked for.
redis.call('HDEL', NAMES.leases, unpack(KEYS))
return unlink_all(KEYS, ARGV[1] == '1')
