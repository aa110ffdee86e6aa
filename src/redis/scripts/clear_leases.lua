-- What is being loaded must not be stored. ARGV[5]: a pattern of the names whose leases are killed. ARGV[6]: '1'
-- if the clearing ends with this pass.
local page = redis.call('HSCAN', 'cachestore:leases', ARGV[3], 'MATCH', ARGV[5], 'COUNT', ARGV[4])
local names = {}
-- Names and what is known of them take turns.
for i = 1, #page[2], 2 do names[#names + 1] = page[2][i] end
for from = 1, #names, 1000 do
  redis.call('HDEL', 'cachestore:leases', unpack(names, from, math.min(from + 999, #names)))
end
if page[1] == '0' and ARGV[6] == '1' and marked == 1 then unmark() end
return { page[1], 0, marked, {} }
