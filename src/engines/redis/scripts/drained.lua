-- The end of an invalidation: all that was below the names is gone, and so do their tombstones. ARGV: how a dependency
-- set's name begins and ends, and the names.
local tombstones = {}
for i = 3, #ARGV do tombstones[i - 2] = tombstones_of(ARGV[i]) end
redis.call('UNLINK', unpack(tombstones))
for i = 3, #ARGV do
  if redis.call('EXISTS', set_of(ARGV[i])) == 0 then redis.call('SREM', lasting, ARGV[i]) end
end
return 1
