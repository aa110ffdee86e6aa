-- Takes the lease of a key, unless a load has it. KEYS: the value, the slot's leases, and its kills. ARGV: the key, the lease, its
-- life, a fresh stamp, '1' if a value that there is ends the script, and how much of the value is wanted (0 for all).
-- {2, the value's PTTL, the value} if it ends so; {0, the other lease, how long it lives}; else {1, the value's PTTL, the
-- value, the stamp, the time}.
--
-- A lease is a field: the key, the lease, and until when it lives.
local value, leases, key = KEYS[1], KEYS[2], ARGV[1]
local left, content = redis.call('PTTL', value), false
if left ~= -2 then
  content = redis.pcall('GETRANGE', value, 0, ARGV[5] == '1' and -1 or ARGV[6] - 1)
  if type(content) == 'table' then return content end
  if ARGV[5] == '1' then return { 2, left, content } end
end
local held = redis.call('HGET', leases, key)
if held then
  local lease, ends = string.match(held, '^(%S+) (%d+)$')
  if tonumber(ends) > now then return { 0, lease, ends - now } end
end
local stamp = stamp_of(KEYS[3], ARGV[4])
local before, ends = redis.call('PTTL', leases), end_of(ARGV[3])
redis.call('HSET', leases, key, ARGV[2] .. ' ' .. whole(ends))
extend(leases, before, ends)
-- With each that comes, two are looked at, and go if they have ended.
local some = redis.call('HRANDFIELD', leases, 2, 'WITHVALUES')
for i = 1, #some, 2 do
  if tonumber(string.match(some[i + 1], ' (%d+)$')) <= now then redis.call('HDEL', leases, some[i]) end
end
return { 1, left, content, stamp, now }
