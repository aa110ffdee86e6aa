-- KEYS: the entry. ARGV: how a dependency set's name begins and ends, the value, the TTL in
-- milliseconds or '', the condition ('', 'NX', 'XX', 'EQ', 'GET', or 'LEASE'), what 'EQ' expects or the token of
-- 'LEASE', and the names that the entry depends on. 1 if it was written, 0 if the condition did not hold. With 'GET',
-- which always holds, the value that there was.
-- 'NX' and 'XX' are those of `SET`, but for loaded values whose life is over: they count as absent.
local key, value, ttl, condition = KEYS[1], ARGV[3], ARGV[4], ARGV[5]

local flight = condition == 'LEASE' and flight_of()
local alive = flight and may_store(flight)
if condition == 'LEASE' and not (alive and flight.token == ARGV[6]) then
  disown(flight, alive)
  announce()
  return 0
end

-- Whole or not at all: what could fail is looked at before anything is changed.
local names = {}
for i = 7, #ARGV do names[i - 6] = ARGV[i] end
local fresh, wrong = look(names)
if wrong then return wrong end
local held
if condition == 'EQ' or condition == 'GET' then
  held = redis.pcall('GET', key)
  if type(held) == 'table' and held.err then return held end
  if condition == 'EQ' and held ~= ARGV[6] then return 0 end
end
if (condition == 'NX' or condition == 'XX') and is_vacant(key) ~= (condition == 'NX') then return 0 end
local set = { 'SET', key, value }
if ttl ~= '' then
  set[4], set[5] = 'PX', ttl
end
redis.call(unpack(set))

-- The value comes first: a server that is full refuses it only as long as the script has changed nothing.
if flight then
  land(flight)
  announce()
else
  redis.call('HDEL', leases, key)
end
tie(key, tonumber(ttl), names, fresh)
-- A clearing that goes on leaves what leads to this; see `clearing.lua`.
if names[1] and redis.call('EXISTS', 'cachestore:tied') == 1 then
  redis.call('SADD', 'cachestore:tied', key)
  for _, name in ipairs(names) do redis.call('SADD', 'cachestore:tied', name) end
end
if condition == 'GET' then return held end
return 1
