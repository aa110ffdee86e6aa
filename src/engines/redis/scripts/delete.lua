-- Removes entries. KEYS: the entries. ARGV: 'GET' if the value of the one entry is wanted. Answers that value, else how
-- many entries there were.
local held
if ARGV[1] == 'GET' then
  held = redis.pcall('GET', KEYS[1])
  if type(held) == 'table' and held.err then return held end
end
-- It changes what somebody may be loading from; see `lease.lua`.
change(unpack(KEYS))
local removed = redis.call('DEL', unpack(KEYS))
if ARGV[1] == 'GET' then return held end
return removed
