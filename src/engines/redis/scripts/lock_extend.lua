-- KEYS: the lock, its record. ARGV: the secret, the TTL in milliseconds, how long the record is kept in
-- milliseconds, the channel, and the token of the hold if it is known. 1 if the lock has the new TTL, 0 if there is
-- none, -1 if it is another's.
local held = redis.call('GET', KEYS[1])
if not held then return 0 end
local token = ARGV[5] and string.match(redis.call('GET', KEYS[2]) or '', '^%d+')
if held ~= ARGV[1] or (token and token ~= ARGV[5]) then return -1 end
local before = redis.call('PTTL', KEYS[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
-- A waiter that sleeps until the end that the lock had before is told that it comes sooner.
if before > tonumber(ARGV[2]) then redis.pcall('PUBLISH', ARGV[4], '') end
return 1
