-- Notes that a load has ended. KEYS: the loads that name the name. ARGV: the member, and its lease.
local held = redis.call('HGET', KEYS[1], ARGV[1])
if held and string.match(held, '^%S+') == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]) end
return 1
