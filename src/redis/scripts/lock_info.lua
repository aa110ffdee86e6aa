-- KEYS: the lock, its fence. {remaining, fence}, or 0 if there is none.
if not redis.call('GET', KEYS[1]) then return 0 end
return { redis.call('PTTL', KEYS[1]), redis.call('GET', KEYS[2]) or '0' }
