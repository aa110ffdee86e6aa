-- KEYS: the counter. ARGV: what is added, and the TTL in milliseconds of a counter that this creates, or ''. The sum, as
-- text: a number of Lua's has 53 bits.
local key, by, ttl = KEYS[1], ARGV[1], ARGV[2]
local sum = by
if ttl == '' or not redis.call('SET', key, by, 'PX', ttl, 'NX') then
  local added = redis.pcall('INCRBY', key, by)
  if type(added) == 'table' and added.err then return added end
  sum = redis.call('GET', key)
end
-- It changed what somebody may be loading from; see `lease.lua`.
change(key)
return sum
