-- One chunk of an invalidation. ARGV: how a dependency set's name begins and ends, the name, and how
-- many of its dependents to remove at most. Answers how many entries were removed, whether there are
-- more dependents, whether an earlier invalidation left ghosts, and the removed dependents that have
-- dependents of their own.
--
-- An entry leaves its set together with its life, in this one script. If it has dependents of its
-- own, it is kept as a ghost of the name until all that is below has been drained, so that whoever
-- invalidates the name after a crash still finds them.
--
-- What is being loaded from the name or from its dependents dies with them, in this one script too.
local depend, close, name, limit = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local ghosts_begin, parents_begin = 'cachestore:ghosts:{', 'cachestore:parents:{'
local set, ghosts = depend .. name .. close, ghosts_begin .. name .. '}'
local haunted = redis.call('EXISTS', ghosts)
redis.call('HDEL', 'cachestore:leases', name)
local members = redis.call('SRANDMEMBER', set, limit)
if not members[1] then return { 0, 0, haunted, {} } end

local below, records = {}, {}
for i, member in ipairs(members) do
  below[2 * i - 1] = depend .. member .. close
  below[2 * i] = ghosts_begin .. member .. '}'
  records[i] = parents_begin .. member .. '}'
end
local cascade = {}
if redis.call('EXISTS', unpack(below)) > 0 then
  for i, member in ipairs(members) do
    local left = redis.call('PTTL', below[2 * i - 1])
    local left_below = redis.call('PTTL', below[2 * i])
    if left ~= -2 or left_below ~= -2 then
      cascade[#cascade + 1] = member
      local fresh = redis.call('EXISTS', ghosts) == 0
      redis.call('SADD', ghosts, member)
      local have = fresh and 0 or redis.call('PTTL', ghosts)
      if left == -1 or left_below == -1 then
        redis.call('PERSIST', ghosts)
      elseif have ~= -1 then
        local need = math.max(left, left_below)
        if need > have then redis.call('PEXPIRE', ghosts, string.format('%.0f', need)) end
      end
    end
  end
end
redis.call('HDEL', 'cachestore:leases', unpack(members))
local removed = redis.call('UNLINK', unpack(members))
redis.call('UNLINK', unpack(records))
redis.call('SREM', set, unpack(members))
return { removed, redis.call('EXISTS', set), haunted, cascade }
