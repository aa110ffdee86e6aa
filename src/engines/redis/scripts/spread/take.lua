-- Takes the lease of a key, unless a load has it. Comes after `find.lua`. {0, the other lease, how long it lives} if a load has
-- it; else {1, the value's PTTL, the value, the stamp, the time, the names that the value depends on}.
--
-- A lease is a field: the key, the lease, until when it lives and, packed, the names that the load reads, if it reads any.
local leases, key = KEYS[2], ARGV[1]
local held = redis.call('HGET', leases, key)
if held then
  local lease, ends = string.match(held, '^(%S+) (%d+)')
  if tonumber(ends) > now then return { 0, lease, ends - now } end
end
local stamp = stamp_of(KEYS[3], ARGV[4])
local before, ends = redis.call('PTTL', leases), end_of(ARGV[3])
local above = KEYS[4] and record_of(KEYS[4], key)
local names = {}
for i = 7, #ARGV do names[i - 6] = ARGV[i] end
for _, name in ipairs(above and above[4] or {}) do names[#names + 1] = name end
local read = names[1] and ' ' .. cmsgpack.pack(names) or ''
redis.call('HSET', leases, key, ARGV[2] .. ' ' .. whole(ends) .. read)
extend(leases, before, ends)
-- With each that comes, two are looked at, and go if they have ended.
local some = redis.call('HRANDFIELD', leases, 2, 'WITHVALUES')
for i = 1, #some, 2 do
  if tonumber(string.match(some[i + 1], '^%S+ (%d+)')) <= now then redis.call('HDEL', leases, some[i]) end
end
return { 1, left, content, stamp, now, above and above[4] or {} }
