-- KEYS: the entry. ARGV: how a dependency set's name begins and ends, the value, the TTL in
-- milliseconds or '', the condition ('', 'NX', 'XX', 'EQ', or 'LEASE'), what 'EQ' expects or the token of
-- 'LEASE', and the names that the entry depends on. 1 if it was written, 0 if the condition did not hold.
local key, value, ttl, condition = KEYS[1], ARGV[3], ARGV[4], ARGV[5]

local flight = condition == 'LEASE' and flight_of()
local alive = flight and lives(flight)
if condition == 'LEASE' and not (alive and flight.token == ARGV[6]) then
  -- Who loads from this key may have seen what is not stored now: all that stays is another's flight, in a
  -- generation of its own.
  if alive then
    local ends, _, generation = known(key)
    flight.generations[1] = generation .. '+'
    know(key, ends, 1, flight.generations[1])
    redis.call('SET', own, cmsgpack.pack(flight), 'KEEPTTL')
  else
    if flight then land(flight) end
    redis.call('HDEL', leases, key)
  end
  announce()
  return 0
end

-- Whole or not at all: what could fail is looked at before anything is changed.
local fresh = {}
for i = 7, #ARGV do
  local kind = redis.call('TYPE', depend .. ARGV[i] .. close).ok
  if kind ~= 'none' and kind ~= 'set' then
    return redis.error_reply('WRONGTYPE a dependency set is no set')
  end
  fresh[i] = kind == 'none'
end
if condition == 'EQ' then
  local held = redis.pcall('GET', key)
  if type(held) == 'table' and held.err then return held end
  if held ~= ARGV[6] then return 0 end
end
local set = { 'SET', key, value }
if ttl ~= '' then
  set[4], set[5] = 'PX', ttl
end
if condition == 'NX' or condition == 'XX' then set[#set + 1] = condition end
if not redis.call(unpack(set)) then return 0 end

-- The value comes first: a server that is full refuses it only as long as the script has changed nothing.
if flight then
  land(flight)
  announce()
else
  redis.call('HDEL', leases, key)
end
if not ARGV[7] then return 1 end

local whole = longest(key, tonumber(ttl))
local extended = {}
local mine = parents .. key .. '}'
local fresh_mine = redis.call('EXISTS', mine) == 0
for i = 7, #ARGV do
  local name = ARGV[i]
  local to = depend .. name .. close
  redis.call('SADD', to, key)
  redis.call('SADD', mine, name)
  if extend(to, whole, fresh[i]) then extended[#extended + 1] = name end
end
extend(mine, whole, fresh_mine)
extend_above(extended, whole)
return 1
