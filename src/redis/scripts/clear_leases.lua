-- One step of the first half of a clearing: what is being loaded must not be stored behind the back of the
-- other half. ARGV: the cursor, a pattern of the names to remove, and how many names to look at. Answers the
-- next cursor.
local page = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
-- More than a script's stack holds at once may be found.
for from = 1, #page[2], 1000 do
  redis.call('UNLINK', unpack(page[2], from, math.min(from + 999, #page[2])))
end
return page[1]
