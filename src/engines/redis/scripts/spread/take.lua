-- Takes the lease of a key, unless a load has it. Comes after `find.lua`. {0, the other lease, how long it lives} if a load has
-- it; else {1, the value's PTTL, the value, the stamp, the time, the names that the value depends on}.
--
-- A lease is a field: the key, the lease, and until when it lives.
local leases, key = KEYS[2], ARGV[1]
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
local above = KEYS[4] and record_of(KEYS[4], key)
return { 1, left, content, stamp, now, above and above[4] or {} }
