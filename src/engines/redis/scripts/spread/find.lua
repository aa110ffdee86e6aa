-- What comes before `take.lua`. KEYS: the value, the slot's leases, its kills and, if the loaded value may keep the names of the
-- one before, its records. ARGV: the key, the lease, its life, a fresh stamp, '1' if a value that there is ends the script, and
-- how much of the value is wanted (0 for all); then the names that the load reads. {2, the value's PTTL, the value} if it ends so.
local left, content = redis.call('PTTL', KEYS[1]), false
if left ~= -2 then
  content = redis.pcall('GETRANGE', KEYS[1], 0, ARGV[5] == '1' and -1 or ARGV[6] - 1)
  if type(content) == 'table' then return content end
  if ARGV[5] == '1' then return { 2, left, content } end
end
