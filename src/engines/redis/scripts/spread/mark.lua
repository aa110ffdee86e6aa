-- Ends the loads whose key or one of whose names begins with a prefix, and begins or ends a clearing of the slot. KEYS: the
-- slot's leases, and its clearings. ARGV: the clearing's mark, the prefix, and for how long the clearing is noted, '' if it has
-- ended. Returns 1 if it was noted until now.
--
-- A clearing is a field: its mark, until when it is noted, and the prefix. While it is noted, no load under the prefix
-- stores what it has loaded: the loader may have read a value that the clearing comes to later.
local ended = {}
local loads = redis.call('HGETALL', KEYS[1])
local function is_under(name)
  return string.sub(name, 1, #ARGV[2]) == ARGV[2]
end
for i = 1, #loads, 2 do
  local is_ended, read = is_under(loads[i]), string.match(loads[i + 1], '^%S+ %d+ (.+)$')
  for _, name in ipairs(read and cmsgpack.unpack(read) or {}) do is_ended = is_ended or is_under(name) end
  if is_ended then ended[#ended + 1] = loads[i] end
end
-- First: a server that is full lets a script take up room once it has written what takes none.
for _, key in ipairs(ended) do
  redis.call('HDEL', KEYS[1], key)
  announce(KEYS[1], key)
end
local held = redis.call('HGET', KEYS[2], ARGV[1])
local is_noted = held and tonumber(string.match(held, '^%d+')) > now and 1 or 0
redis.call('HDEL', KEYS[2], ARGV[1])
if ARGV[3] ~= '' then
  local left, ends = redis.call('PTTL', KEYS[2]), end_of(ARGV[3])
  redis.call('HSET', KEYS[2], ARGV[1], whole(ends) .. ' ' .. ARGV[2])
  extend(KEYS[2], left, ends)
end
return is_noted
