-- KEYS: the entry. ARGV: how a dependency set's name begins and ends, the value, the TTL in
-- milliseconds or '', the condition ('', 'NX', 'XX', or 'EQ'), what 'EQ' expects, and the names
-- that the entry depends on. 1 if it was written, 0 if the condition did not hold.
local key, value, ttl, condition = KEYS[1], ARGV[3], ARGV[4], ARGV[5]

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
