-- Removes a value that is to be invalidated. KEYS: the value, the slot's kills, its leases, its intents, its records, and
-- the registrations under the key. ARGV: the key, and the stamp of the kill. {how many values were removed, 1 if others
-- are registered under the key}.
local key = ARGV[1]
-- First: a server that is full lets a script take up room once it has written what takes none.
local removed = redis.call('UNLINK', KEYS[1])
local loads = redis.call('HDEL', KEYS[3], key)
redis.call('HDEL', KEYS[4], key)
redis.call('SET', KEYS[2], ARGV[2], 'PX', kept)
local below = redis.call('EXISTS', KEYS[6])
-- With others below it, the key's names are still needed: for those that are given more time.
if below == 0 then redis.call('HDEL', KEYS[5], key) end
if loads == 1 then announce(KEYS[3], key) end
return { removed, below }
