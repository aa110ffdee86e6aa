-- One step of the first half of a clearing: what is being loaded must not be stored behind the back of the
-- other half. ARGV: the cursor, a pattern of the names whose leases are killed, and how many to look at.
-- Answers the next cursor.
local page = redis.call('HSCAN', 'cachestore:leases', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
-- Names and what is known of them take turns.
for i = 1, #page[2], 2 do
  redis.call('HDEL', 'cachestore:leases', page[2][i])
end
return page[1]
