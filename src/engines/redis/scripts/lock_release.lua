-- KEYS: the lock, its record. ARGV: the secret, the channel. 1 if it was released, 0 if there is none, -1 if
-- it is another's.
local held = redis.call('GET', KEYS[1])
if not held then return 0 end
if held ~= ARGV[1] then return -1 end
redis.call('DEL', KEYS[1])
-- A user that may not publish may still release.
redis.pcall('PUBLISH', ARGV[2], string.match(redis.call('GET', KEYS[2]) or '', '^%d+') or '')
return 1
