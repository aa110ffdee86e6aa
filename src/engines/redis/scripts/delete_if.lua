-- KEYS: the entry. ARGV: the value that it must hold. 1 if it was deleted, 0 if it holds another or none.
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'table' and held.err then return held end
if held ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
-- It changed what somebody may be loading from; see `lease.lua`.
change(KEYS[1])
return 1
