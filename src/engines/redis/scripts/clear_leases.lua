-- Invalidates the leases whose names match `pattern`. A load under way under such a name does not store its value then.
-- ARGV[7]: '1' if the clearing ends with this pass.
local page = redis.call('HSCAN', NAMES.leases, cursor, 'MATCH', pattern, 'COUNT', count)
local names = {}
-- Names and what is known of them take turns.
for i = 1, #page[2], 2 do
  if place_of(page[2][i]) then names[#names + 1] = page[2][i] end
end
for from = 1, #names, 1000 do
  redis.call('HDEL', NAMES.leases, unpack(names, from, math.min(from + 999, #names)))
end
-- Nobody lists the names that loads of others would find out: see `changed.lua`.
redis.call('DEL', NAMES.changed)
if page[1] == '0' and ARGV[7] == '1' and marked == 1 then unmark() end
return { page[1], {}, marked, {}, {} }
